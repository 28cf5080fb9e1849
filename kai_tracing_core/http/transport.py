"""httpx transports that trace what passes them, and repeat it where that helps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from time import monotonic

import anyio
import httpx
from tenacity import AsyncRetrying, RetryCallState, Retrying

from kai_tracing_core.http.attempt import ClientTracer
from kai_tracing_core.http.retrying import Call, Repetition, RetryOptions

__all__ = ["AsyncTracingTransport", "TracingTransport"]


_DEFAULT_TRACER = ClientTracer()


class TracingTransport(httpx.BaseTransport):
    """Wraps a transport of an httpx client that you keep.

        client = httpx.Client(transport=TracingTransport(httpx.HTTPTransport(http2=True)))

    One CLIENT span for each request that goes over the wire, redirects included, each with its trace context in the
    request's headers; it ends when the response's body was read or closed. Without `retry` nothing is repeated, with
    `tracer=None` nothing is traced.
    """

    def __init__(
        self,
        transport: httpx.BaseTransport | None = None,
        *,
        tracer: ClientTracer | None = _DEFAULT_TRACER,
        retry: RetryOptions | None = None,
    ) -> None:
        self._tracer = tracer
        self._retry = retry
        self._transport = transport or httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, perhaps more than once."""
        call = Call(request)
        try:
            response = self._send(call, request)
        except BaseException:
            call.give_up()
            raise
        if response.is_closed:  # made in this process with its body, as mocks are: nobody will read or close it
            call.end()
        return response

    def _send(self, call: Call, request: httpx.Request) -> httpx.Response:
        retry = self._retry
        if retry is None or not retry.allows(request):
            return self._attempt(call, request)
        begun = monotonic()
        outcome: httpx.Response | BaseException
        try:
            outcome = self._attempt(call, request)
        except Exception as error:
            outcome = error
            if not retry.repeats(error):
                raise
        else:
            if not retry.repeats(outcome):
                return outcome
        return self._repeat(Repetition(retry, call, request, outcome, begun), call, request)

    def _repeat(self, repetition: Repetition, call: Call, request: httpx.Request) -> httpx.Response:
        def again(state: RetryCallState) -> None:
            response = repetition.prepare(state)
            if response is not None:
                response.close()

        def attempt() -> httpx.Response:
            return repetition.first() or self._attempt(call, request)

        return Retrying(**repetition.policy(), before_sleep=again)(attempt)

    def _attempt(self, call: Call, request: httpx.Request) -> httpx.Response:
        tracer = self._tracer
        if tracer is None:
            return self._transport.handle_request(request)
        runtime = tracer.service.provider.runtime
        previous = runtime.attach(call.start(tracer))
        try:
            response = self._transport.handle_request(request)
        except BaseException as error:
            call.failed(error)
            raise
        finally:
            runtime.detach(previous)
        call.answered(response)
        if isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _Body(response.stream, call)
        return response

    def close(self) -> None:
        """Close the wrapped transport."""
        self._transport.close()


class AsyncTracingTransport(httpx.AsyncBaseTransport):
    """As `TracingTransport`, for `httpx.AsyncClient`."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        tracer: ClientTracer | None = _DEFAULT_TRACER,
        retry: RetryOptions | None = None,
    ) -> None:
        self._tracer = tracer
        self._retry = retry
        self._transport = transport or httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, perhaps more than once."""
        call = Call(request)
        try:
            response = await self._send(call, request)
        except BaseException:
            call.give_up()
            raise
        if response.is_closed:  # made in this process with its body, as mocks are: nobody will read or close it
            call.end()
        return response

    async def _send(self, call: Call, request: httpx.Request) -> httpx.Response:
        retry = self._retry
        if retry is None or not retry.allows(request):
            return await self._attempt(call, request)
        begun = monotonic()
        outcome: httpx.Response | BaseException
        try:
            outcome = await self._attempt(call, request)
        except Exception as error:
            outcome = error
            if not retry.repeats(error):
                raise
        else:
            if not retry.repeats(outcome):
                return outcome
        return await self._repeat(Repetition(retry, call, request, outcome, begun), call, request)

    async def _repeat(self, repetition: Repetition, call: Call, request: httpx.Request) -> httpx.Response:
        async def again(state: RetryCallState) -> None:
            response = repetition.prepare(state)
            if response is not None:
                await response.aclose()

        async def attempt() -> httpx.Response:
            return repetition.first() or await self._attempt(call, request)

        return await AsyncRetrying(**repetition.policy(), before_sleep=again, sleep=anyio.sleep)(attempt)

    async def _attempt(self, call: Call, request: httpx.Request) -> httpx.Response:
        tracer = self._tracer
        if tracer is None:
            return await self._transport.handle_async_request(request)
        runtime = tracer.service.provider.runtime
        previous = runtime.attach(call.start(tracer))
        try:
            response = await self._transport.handle_async_request(request)
        except BaseException as error:
            call.failed(error)
            raise
        finally:
            runtime.detach(previous)
        call.answered(response)
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _AsyncBody(response.stream, call)
        return response

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._transport.aclose()


class _Body(httpx.SyncByteStream):
    """A response's body, with whose end or closing the call ends."""

    def __init__(self, stream: httpx.SyncByteStream, call: Call) -> None:
        self._stream = stream
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except GeneratorExit:
            raise
        except BaseException as error:
            self._call.failed(error)
            raise

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._call.end()


class _AsyncBody(httpx.AsyncByteStream):
    """As `_Body`."""

    def __init__(self, stream: httpx.AsyncByteStream, call: Call) -> None:
        self._stream = stream
        self._call = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._stream:
                yield part
        except GeneratorExit:
            raise
        except BaseException as error:
            self._call.failed(error)
            raise

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._call.end()
