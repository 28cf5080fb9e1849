"""Running code under a span: each kind of function behaves as it does without one."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
from collections.abc import AsyncGenerator, Awaitable, Generator
from typing import Any

import pytest
from kai_tracing_inmemory import InMemoryProvider

from kai_tracing_core import SpanKind, SpanStatusCode, TraceContext, TracingService

REMOTE = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1, is_remote=True, baggage={"k": "v"})


def test_functions_keep_what_they_are(service: TracingService, provider: InMemoryProvider) -> None:
    """Name, documentation, kind and arguments of the wrapped function are those of the function."""

    @service.traced("named", kind=SpanKind.CLIENT, attributes={"a": 1})
    def add(one: int, *, other: int = 2) -> int:
        """Adds."""
        return one + other

    assert (add.__name__, add.__doc__, add(1, other=5)) == ("add", "Adds.", 6)
    assert str(inspect.signature(add)) == "(one: 'int', *, other: 'int' = 2) -> 'int'"
    span = provider.get("named", kind=SpanKind.CLIENT)
    assert span.attributes == {"a": 1}


def test_names_without_being_told(service: TracingService, provider: InMemoryProvider) -> None:
    """A span is named after its function, with its class."""

    class Cart:
        @service.traced
        def add(self) -> str:
            return "added"

        @service.traced()
        @staticmethod
        def check() -> str:
            return "checked"

        @service.traced
        @classmethod
        def make(cls) -> str:
            return cls.__name__

    service.traced(functools.partial(int, "5"))()
    assert (Cart().add(), Cart.check(), Cart().check(), Cart.make()) == ("added", "checked", "checked", "Cart")
    prefix = "test_names_without_being_told."
    assert [span.name.replace(prefix, "") for span in provider.spans[1:]] == [
        "Cart.add",
        "Cart.check",
        "Cart.check",
        "Cart.make",
    ]
    assert provider.spans[0].name.startswith("functools.partial(")


def test_coroutines(service: TracingService, provider: InMemoryProvider) -> None:
    """A coroutine function stays one, and so does an object whose call is one; spans last until they are done."""

    class Handler:
        async def __call__(self) -> str:
            await asyncio.sleep(0)
            return "handled"

    @service.traced("coroutine")
    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    async def main() -> tuple[str, str]:
        return await work(), await service.traced("object")(Handler())()

    assert inspect.iscoroutinefunction(work)
    assert asyncio.run(main()) == ("done", "handled")
    assert [span.name for span in provider.spans] == ["coroutine", "object"]


@pytest.mark.parametrize("record", [True, False])
def test_failures(service: TracingService, provider: InMemoryProvider, record: bool) -> None:
    """What is raised is raised on and recorded once, unless that is turned off."""

    @service.traced("sync", record_exception=record)
    def fail() -> None:
        raise ValueError("broken")

    @service.traced("async", record_exception=record)
    async def afail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    with pytest.raises(ValueError, match="broken"):
        asyncio.run(afail())
    for span in provider.spans:
        assert len(span.events) == record
        assert span.status is (SpanStatusCode.ERROR if record else SpanStatusCode.UNSET)


def test_cancelling_is_no_error(service: TracingService, provider: InMemoryProvider) -> None:
    """A task that is cancelled ends its spans without an error, in blocks, decorators and `with_span`."""

    @service.traced("decorated")
    async def forever() -> None:
        async with service.span("block"):
            await service.with_span("run", functools.partial(asyncio.sleep, 60))

    async def main() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert [(span.name, span.status) for span in provider.spans] == [
        ("run", SpanStatusCode.UNSET),
        ("block", SpanStatusCode.UNSET),
        ("decorated", SpanStatusCode.UNSET),
    ]


# -- generators --------------------------------------------------------------------------------------------------------


def test_generators_are_driven_as_without_a_span(service: TracingService, provider: InMemoryProvider) -> None:
    """`send`, `throw` and the return value go through; every step runs under the span, nothing between them does."""

    @service.traced("generator")
    def echo() -> Generator[Any, Any, str]:
        received = yield "first"
        while received != "stop":
            assert service.get_current_span() is not None
            try:
                received = yield received
            except KeyError as error:
                received = yield f"caught {error.args[0]}"
        return "returned"

    body = echo()
    assert provider.stats().started == 0  # it starts with the first step
    assert next(body) == "first"
    assert service.get_current_span() is None
    assert body.send(1) == 1
    assert body.throw(KeyError("k")) == "caught k"
    with pytest.raises(StopIteration) as stop:
        body.send("stop")
    assert stop.value.value == "returned"
    span = provider.get("generator")
    assert (list(span.events), span.status) == ([], SpanStatusCode.UNSET)


def test_a_generator_that_delegates(service: TracingService, provider: InMemoryProvider) -> None:
    """`yield from` gets the return value, and the inner span is the child of the outer one."""

    @service.traced("inner")
    def inner() -> Generator[int, None, str]:
        yield 1
        return "inner result"

    @service.traced("outer")
    def outer() -> Generator[Any, None, None]:
        yield (yield from inner())

    assert list(outer()) == [1, "inner result"]
    assert provider.get("inner").parent_id == provider.get("outer").span_id


def test_closing_a_generator_is_no_error(service: TracingService, provider: InMemoryProvider) -> None:
    """Closing it, or letting go of it, runs its clean-up under the span and ends that without an error."""
    cleaned: list[bool] = []

    @service.traced("generator")
    def numbers() -> Generator[int, None, None]:
        try:
            yield from range(10)
        finally:
            cleaned.append(service.get_current_span() is not None)

    body = numbers()
    next(body)
    body.close()
    for _ in numbers():
        break
    gc.collect()
    numbers().close()  # never started: nothing to trace
    assert cleaned == [True, True]
    assert [(span.status, list(span.events)) for span in provider.spans] == [(SpanStatusCode.UNSET, [])] * 2


def test_a_failing_generator(service: TracingService, provider: InMemoryProvider) -> None:
    """What its body raises, or what is thrown in and not caught, is recorded and raised on."""

    @service.traced("generator")
    def numbers() -> Generator[int, None, None]:
        yield 1
        raise ValueError("body")

    with pytest.raises(ValueError, match="body"):
        list(numbers())
    body = numbers()
    next(body)
    with pytest.raises(KeyError):
        body.throw(KeyError("thrown"))
    assert [span.events[0].attributes["exception.type"] for span in provider.spans] == ["ValueError", "KeyError"]


def test_async_generators_are_driven_as_without_a_span(service: TracingService, provider: InMemoryProvider) -> None:
    """`asend`, `athrow` and `aclose` go through; nothing is current between the steps."""

    @service.traced("generator")
    async def echo() -> AsyncGenerator[Any, Any]:
        received = yield "first"
        while True:
            assert service.get_current_span() is not None
            await asyncio.sleep(0)
            try:
                received = yield received
            except KeyError as error:
                received = yield f"caught {error.args[0]}"

    async def main() -> None:
        body = echo()
        assert await body.__anext__() == "first"
        assert service.get_current_span() is None
        assert await body.asend(1) == 1
        assert await body.athrow(KeyError("k")) == "caught k"
        await body.aclose()

    asyncio.run(main())
    span = provider.get("generator")
    assert (list(span.events), span.status) == ([], SpanStatusCode.UNSET)


def test_the_end_of_an_async_generator(service: TracingService, provider: InMemoryProvider) -> None:
    """Exhausted, it ends its span without an error; failing, with one."""

    @service.traced("generator")
    async def numbers(fail: bool) -> AsyncGenerator[int, None]:
        yield 1
        if fail:
            raise ValueError("body")

    async def main() -> None:
        assert [number async for number in numbers(False)] == [1]
        with pytest.raises(ValueError, match="body"):
            async for _ in numbers(True):
                pass

    asyncio.run(main())
    assert [span.status for span in provider.spans] == [SpanStatusCode.UNSET, SpanStatusCode.ERROR]


# -- with_span ---------------------------------------------------------------------------------------------------------


def test_with_span_takes_every_kind_of_function(service: TracingService, provider: InMemoryProvider) -> None:
    """Sync functions give their result, coroutine functions and those that return an awaitable an awaitable of it."""

    async def query() -> str:
        span = service.get_current_span()
        assert span is not None
        return span.name

    async def main() -> list[str]:
        pending: Awaitable[str] = service.with_span("partial", functools.partial(asyncio.ensure_future, query()))
        return [await service.with_span("function", query), await pending]

    assert service.with_span("sync", lambda: 5) == 5
    assert asyncio.run(main()) == ["function", "partial"]
    assert {span.name for span in provider.spans} == {"sync", "function", "partial"}


def test_with_span_records_what_escapes(service: TracingService, provider: InMemoryProvider) -> None:
    """Once, for either kind of function, and the span ends."""

    async def afail() -> None:
        raise ValueError("async")

    def fail() -> None:
        raise ValueError("sync")

    with pytest.raises(ValueError, match="sync"):
        service.with_span("sync", fail)
    with pytest.raises(ValueError, match="async"):
        asyncio.run(service.with_span("async", afail))  # it is a coroutine, declared wider
    assert [len(span.events) for span in provider.spans] == [1, 1]
    assert service.get_current_span() is None


def test_with_span_brings_the_baggage_of_its_parent(service: TracingService) -> None:
    """What a remote parent brought is current inside, and no longer after it."""
    assert service.with_span("server", lambda: dict(service.get_baggage()), parent=REMOTE) == {"k": "v"}
    assert dict(service.get_baggage()) == {}


def test_a_span_of_the_providers_own(provider: InMemoryProvider) -> None:
    """`with_span` of a provider takes a span that may be current already, and ends it."""
    span = provider.start_span("operation")
    assert provider.with_span(span, provider.get_current_span) is span
    assert not span.is_recording()
    assert provider.get_current_span() is None
