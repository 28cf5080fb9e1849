"""Running code under a span: functions, coroutines, generators and async generators."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

from kai_tracing_core.context import RuntimeContext
from kai_tracing_core.span import Span

__all__ = ["run_under", "trace_function"]


class _Current:
    """Makes a span current for a block, and records what escapes from it, without ending the span."""

    __slots__ = ("_previous", "_runtime", "_span")

    def __init__(self, runtime: RuntimeContext, span: Span) -> None:
        self._runtime = runtime
        self._span = span

    def __enter__(self) -> None:
        self._previous = self._runtime.attach(self._span)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._runtime.detach(self._previous)
        if error is not None:
            self._span._fail(error)


def run_under(runtime: RuntimeContext, span: Span, fn: Callable[[], Any]) -> Any:
    """Call `fn` under `span` and end the span when it is done.

    Where `fn` gives an awaitable, so does this, and the span ends when that is done.
    """
    import inspect  # which takes longer than half of a start

    if inspect.iscoroutinefunction(fn):
        return _await_under(runtime, span, fn)
    try:
        with _Current(runtime, span):
            result = fn()
    except BaseException:
        span.end()
        raise
    if inspect.isawaitable(result):
        return _await_under(runtime, span, lambda: result)
    span.end()
    return result


async def _await_under(runtime: RuntimeContext, span: Span, fn: Callable[[], Awaitable[Any]]) -> Any:
    try:
        with _Current(runtime, span):
            return await fn()
    finally:
        span.end()


def _generate_under(
    get_runtime: Callable[[], RuntimeContext], start: Callable[[], Span], body: Generator[Any, Any, Any]
) -> Generator[Any, Any, Any]:
    """Drive a generator with the span current only while its body runs."""
    runtime, span = get_runtime(), start()
    step: Callable[[], Any] = functools.partial(next, body)
    try:
        while True:
            try:
                with _Quiet(runtime, span):
                    value = step()
            except StopIteration as stop:
                return stop.value
            try:
                sent = yield value
            except GeneratorExit:
                with _Current(runtime, span):
                    body.close()
                raise
            except BaseException as error:
                step = functools.partial(body.throw, error)
            else:
                step = functools.partial(body.send, sent)
    finally:
        span.end()


async def _agenerate_under(
    get_runtime: Callable[[], RuntimeContext], start: Callable[[], Span], body: AsyncGenerator[Any, Any]
) -> AsyncGenerator[Any, Any]:
    runtime, span = get_runtime(), start()
    step: Callable[[], Awaitable[Any]] = body.__anext__
    try:
        while True:
            try:
                with _Quiet(runtime, span):
                    value = await step()
            except StopAsyncIteration:
                return
            try:
                sent = yield value
            except GeneratorExit:
                with _Current(runtime, span):
                    await body.aclose()
                raise
            except BaseException as error:
                step = functools.partial(body.athrow, error)
            else:
                step = functools.partial(body.asend, sent)
    finally:
        span.end()


class _Quiet(_Current):
    """`_Current` for one step of a generator, whose regular end is an exception."""

    __slots__ = ()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            error = None
        super().__exit__(kind, error, trace)


def trace_function(
    fn: Callable[..., Any], start: Callable[[], Span], runtime: Callable[[], RuntimeContext]
) -> Callable[..., Any]:
    """`fn`, each call of which runs under the span that `start` gives; a wrapper of the same kind as `fn`.

    The span of a generator starts with its first step and is current only while its body runs.
    """
    import inspect

    if inspect.isasyncgenfunction(fn):

        @functools.wraps(fn)
        def agenerate(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            return _agenerate_under(runtime, start, fn(*args, **kwargs))

        return agenerate
    if inspect.isgeneratorfunction(fn):

        @functools.wraps(fn)
        def generate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            return _generate_under(runtime, start, fn(*args, **kwargs))

        return generate
    if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__):

        @functools.wraps(fn)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            async with start():
                return await fn(*args, **kwargs)

        return call_async

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        with start():
            return fn(*args, **kwargs)

    return call
