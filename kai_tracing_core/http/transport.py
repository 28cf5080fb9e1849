"""httpx transports that trace what passes them, and repeat it where that helps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, nullcontext

import httpx
from tenacity import AsyncRetrying, RetryCallState, Retrying

from kai_tracing_core.http.attempt import ClientTracer
from kai_tracing_core.http.retrying import Call, RetryOptions

__all__ = ["AsyncTracingTransport", "TracingTransport"]


_DEFAULT_TRACER = ClientTracer()


class _Tracing:
    """What the two transports share. Without a tracer they only repeat."""

    def __init__(self, tracer: ClientTracer | None, retry: RetryOptions | None) -> None:
        self._tracer = tracer
        self._retry = retry

    def _under(self, call: Call) -> AbstractContextManager[None]:
        """What the transport below does is done under the attempt's span."""
        if self._tracer is None or call.span is None:
            return nullcontext()
        return self._tracer.service.use_context(call.span)


class TracingTransport(_Tracing, httpx.BaseTransport):
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
        super().__init__(tracer, retry)
        self._transport = transport or httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, perhaps more than once."""
        call = Call(self._tracer, request)
        try:
            if self._retry is None or not self._retry.allows(request):
                return self._attempt(call, request)

            def again(state: RetryCallState) -> None:
                call.again(state)
                if state.outcome is not None and not state.outcome.failed:
                    state.outcome.result().close()

            return Retrying(**self._retry.policy(), before_sleep=again)(self._attempt, call, request)
        except BaseException:
            call.end()
            raise

    def _attempt(self, call: Call, request: httpx.Request) -> httpx.Response:
        call.start()
        try:
            with self._under(call):
                response = self._transport.handle_request(request)
        except BaseException as error:
            call.failed(error)
            raise
        call.answered(response)
        if call.span is not None and isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _Body(response.stream, call)
        return response

    def close(self) -> None:
        """Close the wrapped transport."""
        self._transport.close()


class AsyncTracingTransport(_Tracing, httpx.AsyncBaseTransport):
    """As `TracingTransport`, for `httpx.AsyncClient`."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        tracer: ClientTracer | None = _DEFAULT_TRACER,
        retry: RetryOptions | None = None,
    ) -> None:
        super().__init__(tracer, retry)
        self._transport = transport or httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, perhaps more than once."""
        call = Call(self._tracer, request)
        try:
            if self._retry is None or not self._retry.allows(request):
                return await self._attempt(call, request)

            async def again(state: RetryCallState) -> None:
                call.again(state)
                if state.outcome is not None and not state.outcome.failed:
                    await state.outcome.result().aclose()

            return await AsyncRetrying(**self._retry.policy(), before_sleep=again)(self._attempt, call, request)
        except BaseException:
            call.end()
            raise

    async def _attempt(self, call: Call, request: httpx.Request) -> httpx.Response:
        call.start()
        try:
            with self._under(call):
                response = await self._transport.handle_async_request(request)
        except BaseException as error:
            call.failed(error)
            raise
        call.answered(response)
        if call.span is not None and isinstance(response.stream, httpx.AsyncByteStream):
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
