"""The part of the contract that is about which span is current, parents, and propagation."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kai_tracing_core.provider import TracingProvider
from kai_tracing_core.service import TracingService
from kai_tracing_core.span import Span, SpanOptions
from kai_tracing_core.testing._base import Contract
from kai_tracing_core.testing.suite import needs
from kai_tracing_core.trace_context import RANDOM, SAMPLED, TraceContext

__all__ = ["ContextContract"]

_TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
_SPAN_ID = "b7ad6b7169203331"


def remote(flags: int = SAMPLED, state: str = "", **options: Any) -> TraceContext:
    """A context that came from another process."""
    return TraceContext(_TRACE_ID, _SPAN_ID, flags, state, is_remote=True, **options)


def current(provider: TracingProvider) -> str | None:
    """The span id of what is current, None where nothing is."""
    span = provider.get_current_span()
    return span.span_id if span is not None and span.trace_context.is_valid else None


class ContextContract(Contract, contract=True):
    """Parents local and remote, the sampled flag, propagation, activation, and that nothing stays current."""

    # -- parents -----------------------------------------------------------------------------------------------------

    @needs("records")
    def test_the_current_span_is_the_parent(self, provider: TracingProvider) -> None:
        """Nested spans form one trace, each the child of the one around it; siblings share their parent."""
        with provider.span("root"):
            with provider.span("first"), provider.span("inner"):
                pass
            with provider.span("second"):
                pass
        spans = self.named(provider)
        assert len({span.trace_id for span in spans.values()}) == 1
        assert spans["root"].parent_id is None
        assert spans["first"].parent_id == spans["second"].parent_id == spans["root"].span_id
        assert spans["inner"].parent_id == spans["first"].span_id
        assert not any(span.has_remote_parent for span in spans.values())

    @needs("records")
    def test_without_a_current_span_a_trace_starts(self, provider: TracingProvider) -> None:
        """Spans that follow one another without a span around them are roots of traces of their own."""
        for _ in range(2):
            provider.start_span("root").end()
        first, second = self.finished(provider)
        assert first.trace_id != second.trace_id
        assert first.parent_id is second.parent_id is None

    @needs("records")
    def test_a_given_parent_goes_before_the_current_span(self, provider: TracingProvider) -> None:
        """A parent that is given, as a span or as its context, is the parent whatever is current."""
        given = provider.start_span("given", SpanOptions(activate=False))
        with provider.span("around"):
            provider.start_span("by span", SpanOptions(parent=given)).end()
            provider.start_span("by context", SpanOptions(parent=given.trace_context)).end()
            provider.start_span("of its own", SpanOptions(parent=TraceContext())).end()
        given.end()
        spans = self.named(provider)
        for name in ("by span", "by context"):
            assert (spans[name].trace_id, spans[name].parent_id) == (given.trace_id, given.span_id)
        assert spans["of its own"].parent_id is None
        assert spans["of its own"].trace_id not in {given.trace_id, spans["around"].trace_id}

    @needs("records")
    def test_a_remote_parent(self, provider: TracingProvider) -> None:
        """A span with a remote parent continues its trace, with its `tracestate`; its children have a local one."""
        with provider.span("server", parent=remote(SAMPLED | RANDOM, "vendor=1")), provider.span("inner"):
            pass
        spans = self.named(provider)
        assert (spans["server"].trace_id, spans["server"].parent_id) == (_TRACE_ID, _SPAN_ID)
        assert spans["server"].span_id != _SPAN_ID
        assert spans["server"].has_remote_parent
        assert not spans["inner"].has_remote_parent
        assert spans["inner"].parent_id == spans["server"].span_id
        for span in spans.values():
            assert (span.trace_flags, span.trace_state) == (SAMPLED | RANDOM, "vendor=1")

    @needs("records")
    def test_a_parent_that_has_ended(self, provider: TracingProvider) -> None:
        """A span may be the parent of one that starts after its end."""
        parent = provider.start_span("parent")
        parent.end()
        provider.start_span("child", SpanOptions(parent=parent)).end()
        child = self.named(provider)["child"]
        assert (child.trace_id, child.parent_id) == (parent.trace_id, parent.span_id)

    # -- the sampled flag --------------------------------------------------------------------------------------------

    @needs("records")
    def test_what_the_caller_did_not_sample_is_not_recorded(self, provider: TracingProvider) -> None:
        """The children of an unsampled remote parent are not recorded, but carry its trace id and decision on."""
        with provider.span("server", parent=remote(0, "vendor=1")) as span:
            assert not span.is_recording()
            with provider.span("inner") as inner:
                assert not inner.is_recording()
                context = inner.trace_context
        assert self.finished(provider) == []
        assert (context.trace_id, context.is_sampled, context.trace_state) == (_TRACE_ID, False, "vendor=1")
        assert context.span_id != _SPAN_ID

    @needs("records")
    def test_a_new_trace_is_sampled(self, provider: TracingProvider) -> None:
        """A recorded trace says so, and that its id is random."""
        with provider.span("root") as span:
            assert span.trace_context.is_sampled
            assert span.trace_flags == SAMPLED | RANDOM

    # -- propagation -------------------------------------------------------------------------------------------------

    @needs("records")
    def test_the_round_trip(self, provider: TracingProvider) -> None:
        """What is injected is extracted again: ids, decision, `tracestate`; and it becomes a remote parent."""
        with provider.span("client") as client:
            headers: dict[str, str] = {}
            provider.inject_context(client.trace_context, headers)
        assert headers
        context = provider.extract_context(headers)
        assert context is not None
        assert (context.trace_id, context.span_id) == (client.trace_id, client.span_id)
        assert context.is_sampled
        assert context.is_remote
        provider.start_span("server", SpanOptions(parent=context)).end()
        server = self.named(provider)["server"]
        assert (server.trace_id, server.parent_id) == (client.trace_id, client.span_id)

    @needs("w3c")
    @pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
    def test_w3c_trace_context(self, provider: TracingProvider, flags: str) -> None:
        """`traceparent` and `tracestate` are read whatever the case of their names, and go out as they came."""
        headers = {"Traceparent": f"00-{_TRACE_ID}-{_SPAN_ID}-{flags}", "TRACESTATE": "a=1,b=2"}
        context = provider.extract_context(headers)
        assert context is not None
        assert (context.trace_id, context.span_id, context.trace_flags) == (_TRACE_ID, _SPAN_ID, int(flags))
        out: dict[str, str] = {}
        provider.inject_context(context, out)
        assert out["traceparent"] == headers["Traceparent"]
        assert out["tracestate"] == "a=1,b=2"

    @needs("w3c")
    @pytest.mark.parametrize("shape", ["dict", "bytes pairs", "lists"])
    def test_carriers(self, provider: TracingProvider, shape: str) -> None:
        """Headers may be a mapping, ASGI's pairs of bytes, or a mapping to lists of values."""
        value = f"00-{_TRACE_ID}-{_SPAN_ID}-01"
        carriers: dict[str, Any] = {
            "dict": {"traceparent": value},
            "bytes pairs": [(b"host", b"example.com"), (b"traceparent", value.encode())],
            "lists": {"traceparent": [value]},
        }
        context = provider.extract_context(carriers[shape])
        assert context is not None
        assert context.span_id == _SPAN_ID

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"traceparent": ""},
            {"traceparent": "rubbish"},
            {"traceparent": f"ff-{_TRACE_ID}-{_SPAN_ID}-01"},
            {"traceparent": f"00-{'0' * 32}-{_SPAN_ID}-01"},
            {"traceparent": f"00-{_TRACE_ID}-{'0' * 16}-01"},
            {"traceparent": f"00-{_TRACE_ID.upper()}-{_SPAN_ID}-01"},
            {"traceparent": None, 5: 5},
            {"b3": "\x00", "uber-trace-id": "::::"},
            None,
            5,
            [()],
        ],
        ids=repr,
    )
    def test_malformed_headers_count_as_absent(self, provider: TracingProvider, headers: Any) -> None:
        """Whatever headers bring: nothing raises, and a new trace can start."""
        context = provider.extract_context(headers)
        assert context is None or not context.is_valid
        with provider.span("server", parent=context) as span:
            assert span.trace_id != _TRACE_ID

    def test_what_is_no_context_is_not_injected(self, service: TracingService, provider: TracingProvider) -> None:
        """Neither a wrong context nor a carrier that cannot be written to raises, nor does either become current."""
        bad: Any
        for bad in (None, 5, "x", object()):
            headers: dict[str, str] = {}
            provider.inject_context(bad, headers)
            assert provider.extract_context(headers) is None
            provider.inject_context(remote(), bad)
            with service.use_context(bad):
                assert current(provider) is None

    def test_nothing_is_injected_of_nothing(self, provider: TracingProvider) -> None:
        """A context without ids writes no ids to the carrier."""
        headers: dict[str, str] = {}
        provider.inject_context(TraceContext(), headers)
        assert provider.extract_context(headers) is None

    @needs("records", False)
    def test_the_context_is_passed_on_unchanged(self, provider: TracingProvider) -> None:
        """A provider that records nothing hands on what came in, from whatever depth of spans."""
        headers = {"traceparent": f"00-{_TRACE_ID}-{_SPAN_ID}-01", "tracestate": "a=1"}
        context = provider.extract_context(headers)
        with provider.span("server", parent=context), provider.span("inner") as inner:
            out: dict[str, str] = {}
            provider.inject_context(inner.trace_context, out)
            assert out == headers
            current_span = provider.get_current_span()
            assert current_span is not None
            assert current_span.trace_context.span_id == _SPAN_ID
            assert not current_span.is_recording()
            assert provider.with_span(provider.start_span("run"), lambda: current(provider)) == _SPAN_ID

    @needs("records", False)
    def test_nothing_is_recorded(self, provider: TracingProvider) -> None:
        """A provider that says it records nothing does record nothing."""
        with provider.span("operation") as span:
            assert not span.is_recording()
            span.set_attribute("key", 1)
        assert dict(span.attributes) == {}
        assert provider.stats().ended == 0

    # -- activation --------------------------------------------------------------------------------------------------

    @needs("records")
    def test_a_started_span_is_current_until_its_end(self, provider: TracingProvider) -> None:
        """`start_span` makes the span current and `end_span` puts back what was current before it."""
        outer = provider.start_span("outer")
        inner = provider.start_span("inner")
        assert current(provider) == inner.span_id
        provider.end_span(inner)
        assert current(provider) == outer.span_id
        provider.end_span(outer)
        assert current(provider) is None

    @needs("records")
    def test_detached_spans_are_not_current(self, provider: TracingProvider) -> None:
        """`activate=False`, and `span` before its block, leave the current span alone."""
        with provider.span("around") as around:
            detached = provider.start_span("detached", SpanOptions(activate=False))
            waiting = provider.span("waiting")
            assert current(provider) == around.span_id
            detached.end()
            waiting.end()
            assert current(provider) == around.span_id
        assert self.named(provider)["detached"].parent_id == around.span_id

    @needs("records")
    def test_the_current_span_is_the_one_that_was_started(self, provider: TracingProvider) -> None:
        """What is added to the current span is added to the span that was started."""
        span = provider.start_span("operation")
        found = provider.get_current_span()
        assert found is not None
        provider.add_span_attributes(found, {"key": 1})
        provider.end_span(found)
        assert (self.only(provider).span_id, self.only(provider).attributes) == (span.span_id, {"key": 1})

    @needs("records")
    def test_ending_out_of_order(self, provider: TracingProvider) -> None:
        """The outer span may end before the inner one; no finished span becomes or stays current."""
        first, second, third = (provider.start_span(name) for name in ("first", "second", "third"))
        first.end()
        assert current(provider) == third.span_id
        second.end()
        assert current(provider) == third.span_id
        third.end()
        assert current(provider) is None
        assert [span.name for span in self.finished(provider)] == ["first", "second", "third"]

    @needs("records")
    def test_ending_on_another_thread(self, provider: TracingProvider) -> None:
        """A span may end on another thread: it is then current on neither."""
        with provider.span("around") as around:
            span = provider.start_span("operation")
            thread = threading.Thread(target=span.end)
            thread.start()
            thread.join(10)
            assert current(provider) == around.span_id
            provider.start_span("next").end()
        assert self.named(provider)["next"].parent_id == around.span_id

    @needs("records")
    def test_another_thread_has_no_current_span(self, provider: TracingProvider) -> None:
        """A thread starts without a current span and what it makes current stays there."""
        seen: list[str | None] = []

        def work() -> None:
            seen.append(current(provider))
            provider.start_span("left open")

        with provider.span("around") as around:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(work).result(10)
            assert current(provider) == around.span_id
        assert seen == [None]

    @needs("records")
    def test_tasks_inherit_but_do_not_mix(self, provider: TracingProvider) -> None:
        """Concurrent tasks are children of the span that started them and see only their own spans."""

        async def work(name: str) -> None:
            async with provider.span(name) as span:
                await asyncio.sleep(0)
                assert current(provider) == span.span_id
                async with provider.span(f"{name} inner"):
                    await asyncio.sleep(0)

        async def main() -> None:
            async with provider.span("root") as root:
                await asyncio.gather(*(work(str(number)) for number in range(5)))
                assert current(provider) == root.span_id

        asyncio.run(main())
        spans = self.named(provider)
        for number in range(5):
            assert spans[str(number)].parent_id == spans["root"].span_id
            assert spans[f"{number} inner"].parent_id == spans[str(number)].span_id

    @needs("records")
    def test_ending_in_another_task(self, provider: TracingProvider) -> None:
        """A span may end in a task other than its own: it is then current in neither."""

        async def end(span: Span) -> str | None:
            span.end()
            return current(provider)

        async def main() -> list[str | None]:
            span = provider.start_span("operation")
            return [await asyncio.create_task(end(span)), current(provider)]

        after = asyncio.run(main())
        assert [span.name for span in self.finished(provider)] == ["operation"]
        found = provider.get_current_span()
        assert found is None or found.is_recording() is False
        assert after[1] is None

    @needs("records")
    def test_a_background_task_stays_in_the_trace(self, provider: TracingProvider) -> None:
        """A task that outlives the span it was started under still starts its spans in that trace."""

        async def background(done: asyncio.Event) -> None:
            await done.wait()
            with provider.span("late"):
                pass

        async def main() -> None:
            done = asyncio.Event()
            async with provider.span("request"):
                task = asyncio.create_task(background(done))
                await asyncio.sleep(0)
            done.set()
            await task

        asyncio.run(main())
        spans = self.named(provider)
        assert (spans["late"].trace_id, spans["late"].parent_id) == (
            spans["request"].trace_id,
            spans["request"].span_id,
        )

    @needs("records")
    def test_generators_hold_their_span_only_while_they_run(
        self, service: TracingService, provider: TracingProvider
    ) -> None:
        """Between the steps of a traced generator its span is not current, and it ends with the generator."""
        inside: list[str | None] = []

        @service.traced("generator")
        def generate() -> Iterator[int]:
            for number in range(2):
                inside.append(current(provider))
                yield number

        @service.traced("async generator")
        async def agenerate() -> AsyncIterator[int]:
            for number in range(2):
                inside.append(current(provider))
                yield number

        async def main() -> None:
            async for _ in agenerate():
                assert current(provider) is None

        for _ in generate():
            assert current(provider) is None
        asyncio.run(main())
        spans = self.named(provider)
        assert inside == [spans["generator"].span_id] * 2 + [spans["async generator"].span_id] * 2

    def test_nothing_stays_current(self, service: TracingService, provider: TracingProvider) -> None:
        """After blocks, failures, started and wrapped spans, what was current before is current again."""

        def everything() -> tuple[Any, Any]:
            before = provider.runtime.get()
            span = service.start_span("started").span
            with service.span("block"), service.use_context(remote()):
                service.with_span("run", lambda: None)
            with pytest.raises(ValueError, match="x"), service.span("failing"):
                raise ValueError("x")
            service.end_span(span)
            service.end_span(span)
            return before, provider.runtime.get()

        before, after = contextvars.copy_context().run(everything)
        assert after is before
        with provider.span("around", parent=remote()):
            before, after = contextvars.copy_context().run(everything)
            assert after is before
        assert current(provider) is None

    @needs("records")
    def test_wrapped_functions_and_executors(self, service: TracingService, provider: TracingProvider) -> None:
        """`wrap` and `executor` carry the current span to other threads; `use_context` makes a remote one current."""

        def work(name: str) -> None:
            with service.span(name):
                pass

        with service.span("around") as around:
            wrapped = service.wrap(work)
            thread = threading.Thread(target=wrapped, args=("thread",))
            with service.executor(1) as pool:
                pool.submit(work, "pool").result(10)
        thread.start()
        thread.join(10)
        with service.use_context(remote()):
            work("context")
        spans = self.named(provider)
        assert spans["thread"].parent_id == spans["pool"].parent_id == around.span_id
        assert (spans["context"].trace_id, spans["context"].parent_id) == (_TRACE_ID, _SPAN_ID)

    # -- baggage -----------------------------------------------------------------------------------------------------

    def test_baggage_is_current_inside_the_span_that_brought_it(
        self, service: TracingService, provider: TracingProvider
    ) -> None:
        """Baggage of a remote parent is current inside its span, however that was made, and goes on from there."""
        context = remote(baggage={"tenant": "7"})

        def look() -> tuple[str | None, str | None]:
            with service.span("inner") as inner:
                return service.get_baggage().get("tenant"), (inner.trace_context.baggage or {}).get("tenant")

        if not self.records:
            assert service.with_span("run", look, parent=context)[1] == "7"
            return
        with service.span("block", parent=context):
            assert look() == ("7", "7")
        span = service.start_span("started", parent=context).span
        assert look() == ("7", "7")
        span.end()
        assert service.with_span("run", look, parent=context) == ("7", "7")
        with service.use_context(context):
            assert look() == ("7", "7")
        assert dict(service.get_baggage()) == {}
