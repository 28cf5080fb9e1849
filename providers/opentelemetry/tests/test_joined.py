"""A TracerProvider that the application has set before is joined: its spans, behind this project's API."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextvars import copy_context

import pytest
from kai_tracing_opentelemetry.joined import JoinedProvider, JoinedSpan
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kai_tracing_core import Link, SpanKind, SpanStatusCode, TraceContext, TracingService


@pytest.fixture
def kept() -> InMemorySpanExporter:
    """Where the SDK's spans end."""
    return InMemorySpanExporter()


@pytest.fixture
def sdk(kept: InMemorySpanExporter) -> Iterator[TracerProvider]:
    """A stock SDK."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    yield provider
    provider.shutdown()


@pytest.fixture
def tracing(sdk: TracerProvider) -> Iterator[TracingService]:
    """This project's API over it."""
    service = TracingService(JoinedProvider(sdk))
    yield service
    service.shutdown()


def only(kept: InMemorySpanExporter) -> ReadableSpan:
    """The one span that ended."""
    (span,) = kept.get_finished_spans()
    return span


def test_everything_arrives(tracing: TracingService, kept: InMemorySpanExporter) -> None:
    """What is recorded through our API is what the SDK exports, and what our span reads as."""
    other = TraceContext(3, 4, 1, "x=y", is_remote=True)
    caller = tracing.extract_context({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    with tracing.span(
        "work", kind=SpanKind.CLIENT, attributes={"a": 1}, parent=caller, links=[other], start_time=5
    ) as span:
        span.set_attribute("b", 2)
        span.set_attributes({"c": 3})
        span.add_event("event", {"k": 1}, timestamp=7)
        span.add_link(Link(other, {"why": "batch"}))
        span.set_status(SpanStatusCode.ERROR, "failed")
        span.update_name("job")
        assert (span.name, span.kind, span.attributes) == ("job", SpanKind.CLIENT, {"a": 1, "b": 2, "c": 3})
        assert (span.trace_id, span.parent_id, span.has_remote_parent) == ("a" * 32, "b" * 16, True)
        assert [(event.name, event.timestamp) for event in span.events] == [("event", 7)]
        assert [link.context.trace_state for link in span.links] == ["x=y", "x=y"]
        assert (span.status, span.status_message) == (SpanStatusCode.ERROR, "failed")
        assert (span.dropped_attributes, span.dropped_events, span.dropped_links) == (0, 0, 0)
        assert span.resource["telemetry.sdk.language"] == "python"
    found = only(kept)
    assert (found.name, found.kind, found.attributes) == ("job", trace.SpanKind.CLIENT, {"a": 1, "b": 2, "c": 3})
    assert (found.parent.span_id, found.start_time) == (int("b" * 16, 16), 5)
    assert found.status.description == "failed"
    assert span.end_time == found.end_time
    assert not span.is_recording()


def test_both_apis_share_the_current_span(
    tracing: TracingService, sdk: TracerProvider, kept: InMemorySpanExporter
) -> None:
    """Parents go both ways, and the SDK's current span is ours, the same one each time."""
    tracer = sdk.get_tracer("library")
    with tracer.start_as_current_span("outer") as outer:
        current = tracing.get_current_span()
        assert current is not None
        assert current is tracing.get_current_span()
        current.set_attribute("from", "ours")
        with tracing.span("ours") as ours:
            assert isinstance(ours, JoinedSpan)
            assert trace.get_current_span() is ours.wrapped
            with tracer.start_as_current_span("inner"):
                pass
        assert trace.get_current_span() is outer
    assert tracing.get_current_span() is None
    inner, middle, top = kept.get_finished_spans()
    assert (inner.parent, middle.parent) == (middle.context, top.context)
    assert top.attributes == {"from": "ours"}


def test_exceptions(tracing: TracingService, kept: InMemorySpanExporter) -> None:
    """What escapes is recorded and sets the status, once."""
    with pytest.raises(ValueError, match="wrong"), tracing.span("work"):
        raise ValueError("wrong")
    assert [event.name for event in only(kept).events] == ["exception"]
    assert only(kept).status.description == "ValueError: wrong"


def test_start_and_end(tracing: TracingService, kept: InMemorySpanExporter) -> None:
    """`start_span` makes it current until `end_span`, a detached one never; flushing reaches the SDK."""
    result = tracing.start_span("work")
    assert tracing.get_current_span() is result.span
    detached = tracing.start_span("detached", activate=False).span
    assert tracing.get_current_span() is result.span
    tracing.end_span(detached)
    tracing.end_span(result.span)
    tracing.end_span(result.span)
    assert tracing.get_current_span() is None
    assert tracing.flush()
    assert len(kept.get_finished_spans()) == 2


def test_context_travels(tracing: TracingService) -> None:
    """Ids and baggage go out with our propagators."""
    headers: dict[str, str] = {}
    tracing.set_baggage("tenant", "7")
    with tracing.span("work") as span:
        tracing.inject_context(span.trace_context, headers)
    tracing.remove_baggage("tenant")
    assert headers["traceparent"].split("-")[1] == span.trace_id
    assert headers["baggage"] == "tenant=7"


def test_chosen_where_a_provider_is_set() -> None:
    """`TRACING_TYPE=opentelemetry` joins a provider that was set first; nothing is replaced."""
    program = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
mine = TracerProvider()
trace.set_tracer_provider(mine)
from kai_tracing_core import tracing
with tracing.span("work") as span:
    same = trace.get_tracer_provider() is mine, trace.get_current_span() is span.wrapped
    print(type(tracing.provider).__name__, *same)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"TRACING_TYPE": "opentelemetry", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (["JoinedProvider", "True", "True"], "")


def test_out_of_order(tracing: TracingService) -> None:
    """A span that is left while another one is current takes nothing from that one."""

    def interleaved() -> None:
        outer, inner = tracing.span("outer"), tracing.span("inner")
        outer.__enter__()
        inner.__enter__()
        outer.__exit__(None, None, None)
        assert tracing.get_current_span() == inner
        inner.__exit__(None, None, None)

    copy_context().run(interleaved)


def test_a_remote_context_that_is_current(tracing: TracingService, kept: InMemorySpanExporter) -> None:
    """A context without a span can be current, with its baggage, and is the parent of what starts in it."""
    remote = TraceContext(3, 4, 1, is_remote=True, baggage={"tenant": "t1"})
    with tracing.use_context(remote):
        current = tracing.get_current_span()
        assert current is not None
        assert (current.trace_id, current.is_recording()) == (remote.trace_id, False)
        tracing.span("work").end()
    span = tracing.span("later", parent=remote)
    with span:
        assert dict(tracing.get_baggage()) == {"tenant": "t1"}
        tracing.set_baggage("cart", "3")
    assert not tracing.get_baggage()
    assert {span.context.trace_id for span in kept.get_finished_spans()} == {3}
