"""What OpenTelemetry's specification says of its API holds for this project's TracerProvider."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from kai_tracing_opentelemetry import OpenTelemetryProvider
from kai_tracing_opentelemetry.tracer import TracerProvider
from opentelemetry import context, trace
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from kai_tracing_core import RecordingProvider, Span
from kai_tracing_core.processing.processor import SpanExporter
from tests.bridge.conftest import made_by, only


def test_same_scope_same_tracer(provider: OpenTelemetryProvider) -> None:
    """A scope has one tracer; any difference makes another scope."""
    get = provider.tracer_provider.get_tracer
    assert get("a", "1", "url", {"k": 1}) is get("a", "1", "url", {"k": 1})
    assert len({get("a"), get("a", "1"), get("a", "1", "url"), get("b")}) == 4


def test_no_name_is_no_error(provider: OpenTelemetryProvider, caplog: pytest.LogCaptureFixture) -> None:
    """A tracer without a name works, and the mistake is logged."""
    with provider.tracer_provider.get_tracer("").start_as_current_span("work") as span:
        assert span.is_recording()
    assert "without a module name" in caplog.text


def test_sdk_disabled(provider: OpenTelemetryProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SDK_DISABLED=true gives tracers that do nothing."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "TRUE")
    assert isinstance(provider.tracer_provider.get_tracer("library"), trace.NoOpTracer)


def test_root_and_child(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """A root has new ids and no parent; a child has its parent's trace id, state and flags."""
    with tracer.start_as_current_span("root", kind=SpanKind.SERVER) as root, tracer.start_as_current_span("child"):
        pass
    child, parent = kept.get_finished_spans()
    assert parent.parent is None
    assert child.parent == root.get_span_context() == parent.context
    assert child.context.trace_id == parent.context.trace_id
    assert child.context.span_id != parent.context.span_id
    assert parent.kind is SpanKind.SERVER
    assert parent.context.trace_flags.sampled
    assert not parent.context.is_remote
    assert parent.resource.attributes == {"a": 1}
    assert (parent.instrumentation_scope.name, parent.instrumentation_scope.version) == ("library", "1.0")


def test_explicit_context(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """A context that is given names the parent, whatever is current; without a span in it a trace starts."""
    parent = tracer.start_span("parent")
    with tracer.start_as_current_span("current"):
        tracer.start_span("root", context=context.Context()).end()
        tracer.start_span("child", context=trace.set_span_in_context(parent)).end()
    found = {span.name: span for span in kept.get_finished_spans()}
    assert found["root"].parent is None
    assert found["child"].parent == parent.get_span_context()


def test_remote_parent(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """A remote parent's trace id, state and decision are taken over."""
    remote = SpanContext(1, 2, True, TraceFlags(1), TraceState([("vendor", "1")]))
    tracer.start_span("child", trace.set_span_in_context(trace.NonRecordingSpan(remote))).end()
    span = only(kept)
    assert span.parent == remote
    assert (span.context.trace_id, span.context.trace_state) == (1, remote.trace_state)
    unsampled = SpanContext(1, 2, True, TraceFlags(0))
    dropped = tracer.start_span("dropped", trace.set_span_in_context(trace.NonRecordingSpan(unsampled)))
    assert not dropped.is_recording()
    assert dropped.get_span_context().trace_id == 1
    assert not dropped.get_span_context().trace_flags.sampled


def test_start_span_is_not_current(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """`start_span` makes nothing current, not in a `with` block either, which ends the span."""
    with tracer.start_span("work") as span:
        assert trace.get_current_span() is trace.INVALID_SPAN
        assert span.is_recording()
    assert only(kept).end_time is not None


def test_use_span(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """OpenTelemetry's own `use_span` makes it current, and records what escapes."""
    with pytest.raises(KeyError), trace.use_span(tracer.start_span("work"), end_on_exit=True) as span:
        assert trace.get_current_span() is span
        raise KeyError("key")
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert only(kept).status.status_code is StatusCode.ERROR


def test_end_on_exit(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """`end_on_exit=False` leaves the span running."""
    with tracer.start_as_current_span("work", end_on_exit=False) as span:
        pass
    assert span.is_recording()
    assert trace.get_current_span() is trace.INVALID_SPAN
    span.end()
    assert only(kept).name == "work"


def test_decorator(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """As a decorator it makes a span for each call, of functions and of coroutine functions to their end."""

    @tracer.start_as_current_span("function")
    def function(value: int) -> tuple[int, trace.Span]:
        return value, trace.get_current_span()

    @tracer.start_as_current_span("coroutine")
    async def coroutine() -> trace.Span:
        await asyncio.sleep(0)
        return trace.get_current_span()

    value, span = function(7)
    assert value == 7
    assert span is not function(7)[1]
    assert not asyncio.run(coroutine()).is_recording()
    assert [span.name for span in kept.get_finished_spans()] == ["function", "function", "coroutine"]


def test_times(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """Times that are given are kept, in nanoseconds."""
    span = tracer.start_span("work", start_time=100)
    span.add_event("event", timestamp=150)
    span.end(200)
    found = only(kept)
    assert (found.start_time, found.events[0].timestamp, found.end_time) == (100, 150, 200)


def test_attributes(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """All types, the last value of a key, sequences as tuples; what comes after the end is ignored."""
    given = {"text": "a", "number": 1, "share": 0.5, "yes": True, "list": ["a", "b"], "bytes": b"raw"}
    span = tracer.start_span("work", attributes={"early": 1})
    span.set_attributes(given)
    span.set_attribute("early", 2)
    span.end()
    span.set_attribute("late", 1)
    span.set_attributes({"late": 1})
    assert only(kept).attributes == {"early": 2, **given, "list": ("a", "b"), "bytes": "raw"}


def test_the_callers_mapping_is_copied(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """Changing what was given changes no span."""
    given = {"a": 1}
    span = tracer.start_span("work", attributes=given)
    span.add_event("event", given)
    given["a"] = 2
    span.end()
    assert only(kept).attributes == only(kept).events[0].attributes == {"a": 1}


def test_links(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """Links given at the start and later, also of a context without ids that has attributes; others are ignored."""
    target = SpanContext(1, 2, False)
    span = tracer.start_span("work", links=[Link(target, {"a": 1}), Link(trace.INVALID_SPAN_CONTEXT)])
    span.add_link(target)
    span.add_link(trace.INVALID_SPAN_CONTEXT)
    span.add_link(trace.INVALID_SPAN_CONTEXT, {"b": 2})
    span.end()
    span.add_link(target)
    found = [(link.context.trace_id, dict(link.attributes or {})) for link in only(kept).links]
    assert found == [(1, {"a": 1}), (1, {}), (0, {"b": 2})]


@pytest.mark.parametrize(
    ("calls", "code", "description"),
    [
        ([], StatusCode.UNSET, None),
        ([Status(StatusCode.ERROR, "a")], StatusCode.ERROR, "a"),
        ([(StatusCode.ERROR, "a"), (StatusCode.ERROR, "b")], StatusCode.ERROR, "b"),
        ([(StatusCode.ERROR, "a"), (StatusCode.UNSET, None)], StatusCode.ERROR, "a"),
        ([(StatusCode.ERROR, "a"), (StatusCode.OK, None)], StatusCode.OK, None),
        ([(StatusCode.OK, None), (StatusCode.ERROR, "a")], StatusCode.OK, None),
        ([(StatusCode.OK, None), (StatusCode.UNSET, None)], StatusCode.OK, None),
    ],
)
def test_status(
    tracer: trace.Tracer, kept: InMemorySpanExporter, calls: Sequence[Any], code: StatusCode, description: str | None
) -> None:
    """OK is final, UNSET overrides nothing, and the last error counts."""
    span = tracer.start_span("work")
    for call in calls:
        if isinstance(call, Status):
            span.set_status(call)
        else:
            span.set_status(status=call[0], description=call[1])
    span.end()
    span.set_status(StatusCode.ERROR)
    assert (only(kept).status.status_code, only(kept).status.description) == (code, description)


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("status", [True, False])
@pytest.mark.parametrize("current", [True, False])
def test_exceptions(
    tracer: trace.Tracer, kept: InMemorySpanExporter, record: bool, status: bool, current: bool
) -> None:
    """What escapes is recorded and sets the status, each by its own switch, and goes on."""
    start = tracer.start_as_current_span if current else tracer.start_span
    with (
        pytest.raises(ValueError, match="wrong"),
        start("work", record_exception=record, set_status_on_exception=status),
    ):
        raise ValueError("wrong")
    span = only(kept)
    assert [event.name for event in span.events] == (["exception"] if record else [])
    if record:
        attributes = dict(span.events[0].attributes or {})
        assert "ValueError: wrong" in str(attributes.pop("exception.stacktrace"))
        assert attributes == {
            "exception.type": "ValueError",
            "exception.message": "wrong",
            "exception.escaped": str(not current),
        }
    expected = (StatusCode.ERROR, "ValueError: wrong") if status else (StatusCode.UNSET, None)
    assert (span.status.status_code, span.status.description) == expected


def test_ok_survives_an_exception(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """A status that the application set as OK is not overridden by what escapes."""
    with pytest.raises(ValueError), tracer.start_as_current_span("work") as span:
        span.set_status(StatusCode.OK)
        raise ValueError
    assert only(kept).status.status_code is StatusCode.OK


def test_closing_a_generator_is_no_error(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """GeneratorExit passes through a span without a trace."""

    def numbers() -> Iterator[int]:
        with tracer.start_as_current_span("numbers"):
            yield 1
            yield 2

    generator: Any = numbers()
    assert next(generator) == 1
    generator.close()
    assert (only(kept).events, only(kept).status.status_code) == ((), StatusCode.UNSET)


def test_record_exception(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """Attributes that are given override, the time is kept, and the status stays."""
    span = tracer.start_span("work")
    span.record_exception(KeyError("a"), {"exception.message": "mine", "more": 1}, timestamp=5, escaped=True)
    span.end()
    (event,) = only(kept).events
    attributes = dict(event.attributes or {})
    assert event.timestamp == 5
    assert (attributes["exception.message"], attributes["more"]) == ("mine", 1)
    assert attributes["exception.escaped"] == "True"
    assert only(kept).status.status_code is StatusCode.UNSET


def test_limits(kept: InMemorySpanExporter) -> None:
    """The SDK's limits hold, and what they drop is counted."""
    limits = SpanLimits(
        max_span_attributes=2,
        max_events=2,
        max_links=1,
        max_event_attributes=1,
        max_link_attributes=1,
        max_attribute_length=3,
    )
    tracer = made_by(kept, limits=limits)
    target = SpanContext(1, 2, False)
    span = tracer.start_span("work", attributes={"a": "long text", "b": 1, "c": 2})
    span.set_attribute("d", 1)
    span.set_attribute("b", 3)
    for name in ("first", "second", "third"):
        span.add_event(name, {"a": 1, "b": 2})
    span.add_link(target, {"a": 1, "b": 2})
    span.add_link(target)
    span.end()
    found = only(kept)
    assert found.attributes == {"a": "lon", "b": 3}
    assert [event.name for event in found.events] == ["first", "second"]
    assert (found.dropped_attributes, found.dropped_events, found.dropped_links) == (2, 1, 1)
    assert (found.events[0].dropped_attributes, found.links[0].dropped_attributes) == (1, 1)


def test_ending_twice(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """The first end counts, from however many threads."""
    span = tracer.start_span("work")
    threads = [threading.Thread(target=span.end) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept.get_finished_spans()) == 1
    assert not span.is_recording()


def test_update_name(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """A name can be replaced until the end."""
    span = tracer.start_span("early")
    span.update_name("late")
    span.end()
    span.update_name("too late")
    assert only(kept).name == "late"


def test_to_json(tracer: trace.Tracer, kept: InMemorySpanExporter) -> None:
    """A finished span prints as the SDK's does."""
    with tracer.start_as_current_span("work", attributes={"a": 1}):
        pass
    assert '"name": "work"' in only(kept).to_json()


class _Collecting(SpanExporter):
    def __init__(self) -> None:
        self.spans: list[Span] = []

    def export(self, spans: Sequence[Span], timeout: float) -> int:
        self.spans += spans
        return 0


class _Queueing(RecordingProvider):
    def create_exporter(self) -> SpanExporter:
        return _Collecting()


@pytest.mark.parametrize("permits", [0, 10], ids=["handed over", "queued"])
def test_spans_of_blocks_are_queued_once(permits: int) -> None:
    """Whether it queues itself or is handed over, and though it was ended in its block, a span is exported once."""
    provider = _Queueing()
    tracer = TracerProvider(provider).get_tracer("library")
    provider.queue.inbox.permit(permits)
    with tracer.start_as_current_span("once"):
        pass
    with tracer.start_as_current_span("twice") as span:
        span.end()
    assert provider.flush(5)
    assert [span.name for span in provider.queue.exporter.spans] == ["once", "twice"]
    provider.shutdown()
