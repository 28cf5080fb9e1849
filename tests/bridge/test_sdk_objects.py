"""Processors, exporters and samplers of OpenTelemetry's SDK work in this project's pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from kai_tracing_opentelemetry import OpenTelemetryProvider
from kai_tracing_opentelemetry.sdk import SdkSpanSampler
from kai_tracing_opentelemetry.tracer import TracerProvider
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from tests.bridge.conftest import made_by, only


class Noting(SpanProcessor):
    """Notes its calls, and changes the span where it may."""

    def __init__(self, name: str, notes: list[Any]) -> None:
        self.name = name
        self.notes = notes

    def on_start(self, span: Any, parent_context: context.Context | None = None) -> None:
        """Note it and what is there."""
        self.notes.append(
            (self.name, "start", span.name, span.kind, dict(span.attributes), span.parent, parent_context)
        )
        span.set_attribute(self.name, "start")

    def _on_ending(self, span: Any) -> None:
        self.notes.append((self.name, "ending", span.is_recording()))
        span.set_attribute(f"{self.name}.ending", True)

    def on_end(self, span: ReadableSpan) -> None:
        """Note it."""
        self.notes.append((self.name, "end", span.end_time is not None))

    def shutdown(self) -> None:
        """Note it."""
        self.notes.append((self.name, "shutdown"))

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Note it, and fail."""
        self.notes.append((self.name, "flush", timeout_millis))
        return False


def test_processors_in_their_order(kept: InMemorySpanExporter) -> None:
    """Start, ending, end: each in the order of the processors, and what they set arrives."""
    notes: list[Any] = []
    provider = OpenTelemetryProvider(processors=[Noting("a", notes)], set_global=False)
    api = provider.tracer_provider
    api.add_span_processor(Noting("b", notes))
    api.add_span_processor(SimpleSpanProcessor(kept))
    given = context.Context({"key": "value"})
    api.get_tracer("library").start_span("work", given, SpanKind.CLIENT, {"early": 1}).end()
    assert [note[:2] for note in notes] == [(name, call) for call in ("start", "ending", "end") for name in "ab"]
    assert notes[0][2:] == ("work", SpanKind.CLIENT, {"early": 1}, None, given)
    assert notes[1][4] == {"early": 1, "a": "start"}
    assert (notes[2][2], notes[4][2]) == (True, True)
    assert only(kept).attributes == {"early": 1, "a": "start", "b": "start", "a.ending": True, "b.ending": True}
    assert api.force_flush(1000) is False
    assert notes[-2:] == [("a", "flush", 1000), ("b", "flush", 1000)]
    api.shutdown()
    assert notes[-2:] == [("a", "shutdown"), ("b", "shutdown")]


def test_a_processor_that_raises(kept: InMemorySpanExporter, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; the span, and the other processors, go on."""

    class Broken(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            raise RuntimeError("broken")

    provider = OpenTelemetryProvider(processors=[Broken(), SimpleSpanProcessor(kept)], set_global=False)
    provider.tracer_provider.get_tracer("library").start_span("work").end()
    assert only(kept).name == "work"
    assert "broken" in caplog.text


def test_a_processor_may_write_everything(kept: InMemorySpanExporter) -> None:
    """The span that starts takes from a processor all that it takes from the code that started it, even its end."""
    linked = SpanContext(1, 2, is_remote=True)

    class Writing(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            span.set_attributes({"a": 1, "b": "two"})
            span.add_event("event", {"c": 3}, timestamp=4)
            span.add_link(linked, {"d": 5})
            span.update_name("renamed")
            span.record_exception(ValueError("wrong"))
            span.set_status(StatusCode.ERROR, "broken")
            assert span.get_span_context().is_valid
            assert span.is_recording()
            span.end()
            assert not span.is_recording()

    provider = OpenTelemetryProvider(processors=[Writing(), SimpleSpanProcessor(kept)], set_global=False)
    provider.tracer_provider.get_tracer("library").start_span("work")
    span = only(kept)
    assert (span.name, dict(span.attributes or {})) == ("renamed", {"a": 1, "b": "two"})
    assert [event.name for event in span.events] == ["event", "exception"]
    assert [(link.context.span_id, dict(link.attributes or {})) for link in span.links] == [(2, {"d": 5})]
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "broken")


def test_an_exporter_of_the_sdk() -> None:
    """It gets readable spans in batches, on a thread where instrumentation is suppressed; its failure is counted."""
    seen: list[Any] = []

    class Exporter(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            quiet = context.get_value("suppress_instrumentation"), trace.get_current_span().is_recording()
            seen.append(([span.name for span in spans], quiet, [isinstance(span, ReadableSpan) for span in spans]))
            return SpanExportResult.SUCCESS if len(seen) == 1 else SpanExportResult.FAILURE

    provider = OpenTelemetryProvider(exporter=Exporter(), set_global=False)
    tracer = provider.tracer_provider.get_tracer("library")
    for name in ("first", "second"):
        tracer.start_span(name).end()
        assert provider.tracer_provider.force_flush()
    stats = provider.stats()
    provider.shutdown()
    assert seen == [(["first"], (True, False), [True]), (["second"], (True, False), [True])]
    assert (stats.exported, dict(stats.dropped)) == (1, {"failed": 1})


def test_after_shutdown(provider: OpenTelemetryProvider, tracer: trace.Tracer) -> None:
    """Spans can still be made, harmlessly."""
    provider.tracer_provider.shutdown()
    with tracer.start_as_current_span("late") as span:
        span.set_attribute("a", 1)


def test_sdk_samplers(kept: InMemorySpanExporter) -> None:
    """Samplers of the SDK decide, see what a sampler sees, and may add attributes and trace state."""
    asked: list[Any] = []

    class Picky(Sampler):
        def should_sample(
            self,
            parent_context: Any,
            trace_id: int,
            name: str,
            kind: Any = None,
            attributes: Any = None,
            links: Any = None,
            trace_state: Any = None,
        ) -> SamplingResult:
            parent = trace.get_current_span(parent_context).get_span_context()
            asked.append((parent.is_valid, name, kind, dict(attributes or {}), len(links or ())))
            decision = Decision.RECORD_AND_SAMPLE if name == "kept" else Decision.DROP
            return SamplingResult(decision, {"sampler": "picky"}, TraceState([("s", "1")]))

        def get_description(self) -> str:
            return "Picky"

    tracer = made_by(kept, sampler=Picky())
    link = Link(SpanContext(1, 2, False))
    with tracer.start_as_current_span("kept", kind=SpanKind.CLIENT, attributes={"a": 1}, links=[link]):
        assert not tracer.start_span("dropped").is_recording()
    assert asked == [
        (False, "kept", SpanKind.CLIENT, {"a": 1}, 1),
        (True, "dropped", SpanKind.INTERNAL, {}, 0),
    ]
    span = only(kept)
    assert span.attributes == {"a": 1, "sampler": "picky"}
    assert span.context.trace_state.to_header() == "s=1"


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, ParentBased(ALWAYS_OFF)])
def test_unsampled(kept: InMemorySpanExporter, sampler: Sampler) -> None:
    """An unsampled span has ids of its own, is current, takes everything, and is the parent of unsampled ones."""
    tracer = made_by(kept, sampler=sampler)
    with tracer.start_as_current_span("work", attributes={"a": 1}) as span:
        identity = span.get_span_context()
        assert identity.is_valid
        assert not identity.trace_flags.sampled
        assert trace.get_current_span() is span
        span.set_attribute("a", 1)
        span.set_attributes({"a": 1})
        span.add_event("event", {"a": 1})
        span.add_link(SpanContext(1, 2, False))
        span.set_status(status=Status(StatusCode.ERROR), description=None)
        span.record_exception(ValueError())
        span.update_name("other")
        with tracer.start_as_current_span("child") as child:
            assert child.get_span_context().trace_id == identity.trace_id
            assert child.get_span_context().span_id != identity.span_id
    assert kept.get_finished_spans() == ()


def test_sampled_again_below_an_unsampled_parent(kept: InMemorySpanExporter) -> None:
    """A sampler that does not follow parents is asked about every span."""
    tracer = made_by(kept, sampler=ALWAYS_ON)
    unsampled = trace.NonRecordingSpan(SpanContext(1, 2, True, TraceFlags(0)))
    tracer.start_span("work", trace.set_span_in_context(unsampled)).end()
    assert only(kept).context.trace_id == 1


def test_what_a_sampler_says_of_itself() -> None:
    """The description is the SDK sampler's own."""
    assert SdkSpanSampler(ALWAYS_ON).description == "AlwaysOnSampler"


def test_a_live_span_has_no_special_methods_of_others() -> None:
    """What looks for a special method, as copy and pickle do, is told that there is none."""
    looks = []

    class Looking(SpanProcessor):
        def on_start(self, span: Any, parent_context: context.Context | None = None) -> None:
            looks.append(hasattr(span, "__deepcopy__"))

    provider = OpenTelemetryProvider(processors=[Looking()], set_global=False)
    provider.span("work").end()
    provider.shutdown()
    assert looks == [False]


def test_a_tracer_provider_without_a_provider() -> None:
    """Nothing can be added to it; a shutdown and a flush have nothing to do."""
    provider = TracerProvider()
    with pytest.raises(RuntimeError, match="no provider is installed"):
        provider.add_span_processor(Noting("nobody's", []))
    assert provider.force_flush()
    provider.shutdown()
