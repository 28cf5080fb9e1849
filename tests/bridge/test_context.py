"""Both APIs have one current span and one baggage, which travel by either's propagators."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from kai_tracing_opentelemetry import OpenTelemetryProvider
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kai_tracing_core import TracingService


def test_both_apis_share_the_current_span(provider: OpenTelemetryProvider, tracer: trace.Tracer) -> None:
    """Spans of either API are current for the other, and each other's parents."""
    tracing = TracingService(provider)
    with tracing.span("ours") as ours:
        assert trace.get_current_span() is ours
        with tracer.start_as_current_span("theirs") as theirs:
            assert tracing.get_current_span() is theirs
            with tracing.span("inner") as inner:
                assert inner.parent_id == f"{theirs.get_span_context().span_id:016x}"
        assert trace.get_current_span() is ours
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert tracing.get_current_span() is None


def test_spans_of_an_sdk_are_parents_and_children(provider: OpenTelemetryProvider, tracer: trace.Tracer) -> None:
    """A span that another TracerProvider made current is a parent here, and one of ours is one there."""
    tracing = TracingService(provider)
    sdk = SdkTracerProvider(shutdown_on_exit=False).get_tracer("sdk")
    with sdk.start_as_current_span("sdk") as outer:
        with tracing.span("ours") as ours:
            assert ours.trace_id == f"{outer.get_span_context().trace_id:032x}"
            assert ours.parent_id == f"{outer.get_span_context().span_id:016x}"
            inner: Any = sdk.start_span("inner")
            assert inner.parent == trace.get_current_span().get_span_context()
        assert trace.get_current_span() is outer
    with pytest.raises(ValueError), tracing.span("fails"):
        raise ValueError


def test_propagation_through_opentelemetrys_api(provider: OpenTelemetryProvider, tracer: trace.Tracer) -> None:
    """`propagate.inject` sends our span and baggage; what `propagate.extract` attaches is a parent for both APIs."""
    tracing = TracingService(provider)
    headers: dict[str, str] = {}
    with tracing.span("ours") as ours:
        tracing.set_baggage("tenant", "7")
        propagate.inject(headers)
    tracing.remove_baggage("tenant")
    assert headers["traceparent"].split("-")[1:3] == [ours.trace_id, ours.span_id]
    assert headers["baggage"] == "tenant=7"
    token = context.attach(propagate.extract(headers))
    try:
        with tracing.span("other side") as span:
            assert (span.trace_id, span.parent_id, span.has_remote_parent) == (ours.trace_id, ours.span_id, True)
            assert tracing.get_baggage() == {"tenant": "7"}
    finally:
        context.detach(token)
    found = tracing.extract_context(headers)
    with tracing.use_context(found):
        assert trace.get_current_span().get_span_context().is_remote
        with tracer.start_as_current_span("theirs") as theirs:
            assert theirs.get_span_context().trace_id == int(ours.trace_id, 16)


def test_set_global_textmap(tracer: trace.Tracer) -> None:
    """A propagator that the application sets for OpenTelemetry gets our spans."""

    class Plain(TextMapPropagator):
        def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Any:
            return context

        def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
            carrier["span"] = str(trace.get_current_span(context).get_span_context().span_id)

        @property
        def fields(self) -> set[str]:
            return {"span"}

    before = propagate.get_global_textmap()
    propagate.set_global_textmap(Plain())
    try:
        carrier: dict[str, str] = {}
        with tracer.start_as_current_span("work") as span:
            propagate.inject(carrier)
        assert carrier == {"span": str(span.get_span_context().span_id)}
    finally:
        propagate.set_global_textmap(before)


def test_baggage_of_both_apis(provider: OpenTelemetryProvider) -> None:
    """Baggage that one API sets the other reads; it goes out with our propagators, too."""
    tracing = TracingService(provider)
    token = context.attach(baggage.set_baggage("count", 7))
    try:
        assert tracing.get_baggage() == {"count": "7"}
        tracing.set_baggage("tenant", "a")
        assert baggage.get_all() == {"count": "7", "tenant": "a"}
        headers: dict[str, str] = {}
        with tracing.span("work") as span:
            tracing.inject_context(span.trace_context, headers)
        assert headers["baggage"] == "count=7,tenant=a"
    finally:
        context.detach(token)


def test_what_is_attached_in_a_block_and_forgotten_ends_with_it(tracer: trace.Tracer) -> None:
    """`start_as_current_span` puts back the whole context, as OpenTelemetry's does."""
    with tracer.start_as_current_span("work"):
        context.attach(context.set_value("leak", 1))
    assert context.get_value("leak") is None


def test_leaving_in_another_task(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """A block that is left in another task than it was entered in ends its span and disturbs nobody."""

    async def leave(block: Any) -> trace.Span:
        block.__exit__(None, None, None)
        with tracer.start_as_current_span("after") as span:
            return span

    async def main() -> None:
        block = tracer.start_as_current_span("work")
        block.__enter__()
        await asyncio.create_task(leave(block))

    asyncio.run(main())
    after, work = sorted(kept.get_finished_spans(), key=lambda span: span.name)
    assert after.parent == work.context


def test_threads_have_their_own_current_span(tracer: trace.Tracer) -> None:
    """A new thread starts without a current span."""
    found: list[trace.Span] = []
    with tracer.start_as_current_span("work"):
        thread = threading.Thread(target=lambda: found.append(trace.get_current_span()))
        thread.start()
        thread.join()
    assert found == [trace.INVALID_SPAN]
