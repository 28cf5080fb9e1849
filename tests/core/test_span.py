"""What the contract suite does not say of a span: its place in memory, in copies, in handlers, and its readers."""

from __future__ import annotations

import copy
import gc
import pickle
import signal
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from kai_tracing_inmemory import InMemoryProvider

from kai_tracing_core import (
    Link,
    RecordingProvider,
    Span,
    SpanKind,
    SpanOptions,
    SpanStatusCode,
    TraceContext,
    TracingService,
)
from kai_tracing_core.context import resolve
from kai_tracing_core.non_recording import NonRecordingSpan
from kai_tracing_core.processing.batch import BatchOptions
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.processor import SpanExporter, SpanProcessor
from kai_tracing_core.processing.redaction import Redactor
from kai_tracing_core.span_parts import as_kind, as_text, to_nanoseconds
from kai_tracing_core.testing.ids import FixedClock
from kai_tracing_core.trace_context import Shared

REMOTE = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1, is_remote=True)
UNSAMPLED = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 0, is_remote=True)


class _Weak(Span):
    __slots__ = ("__weakref__",)


@pytest.fixture
def weak(clock: FixedClock) -> InMemoryProvider:
    """A provider whose spans can be watched as they go."""
    provider = InMemoryProvider(config=PipelineConfig(span_class=_Weak, clock=clock))
    provider.store._capacity = 0
    provider.store._spans = type(provider.store._spans)(maxlen=0)
    return provider


def test_a_span_is_not_made_directly() -> None:
    """Whoever tries is told so, when it has arguments, as any that makes sense would."""
    with pytest.raises(TypeError, match="Span"):
        Span("operation")  # what is tested


def test_readers(provider: InMemoryProvider, clock: FixedClock) -> None:
    """Everything of a span can be read while it runs and after it ended."""
    span = provider.start_span("operation", SpanOptions(parent=REMOTE))
    assert (span.end_time, span.duration, span.start_time) == (None, None, clock.now)
    assert (span.trace_id, span.span_id, span.parent_id) == (REMOTE.trace_id, f"{1:016x}", REMOTE.span_id)
    clock.advance(1.5)
    span.end()
    assert span.duration == 1.5
    assert (span.adjusted_count, span.scope, span.trace_state) == (1.0, None, "")
    assert span.resource == {"service.name": "unknown_service"}
    assert repr(span) == f"<Span 'operation' {REMOTE.trace_id}-{1:016x}>"


def test_result_unpacks(service: TracingService) -> None:
    """`start_span` gives the span and its context, by name or unpacked."""
    result = service.start_span("operation")
    span, context = result
    assert span is result.span
    assert context == result.trace_context == span.trace_context
    assert repr(result) == f"SpanResult({span!r})"
    span.end()


def test_what_is_not_recorded_reads_as_empty(provider: InMemoryProvider) -> None:
    """A span that is not recorded takes everything and has nothing, however it was made."""
    for span in (provider.start_span("unsampled", SpanOptions(parent=UNSAMPLED)), NonRecordingSpan.of(REMOTE)):
        span.set_attribute("key", 1)
        span.set_attributes({"key": 1})
        span.add_event("event")
        span.add_link(REMOTE)
        span.set_status(SpanStatusCode.ERROR, "message")
        span.update_name("other")
        span.record_exception(ValueError())
        span._fail(ValueError())
        for _ in range(2):
            assert not span.is_recording()
            assert (dict(span.attributes), list(span.events), list(span.links), dict(span.resource)) == ({}, [], [], {})
            assert (span.end_time, span.duration, span.status_message) == (None, None, None)
            assert (span.dropped_attributes, span.dropped_events, span.dropped_links) == (0, 0, 0)
            assert (span.status, span.kind, span.adjusted_count) == (SpanStatusCode.UNSET, SpanKind.INTERNAL, 1.0)
            span.end()
    assert provider.get_current_span() is None


def test_copies_are_the_same_span(provider: InMemoryProvider) -> None:
    """Copying what holds a span neither fails nor makes a second one that would be delivered again."""
    span = provider.start_span("operation")
    assert copy.copy(span) is span
    assert copy.deepcopy({"request": [span]})["request"][0] is span
    span.end()
    assert len(provider.spans) == 1


def test_another_process_gets_what_stands_for_it(provider: InMemoryProvider) -> None:
    """A pickled span comes out as one that can be a parent and that records nothing."""
    with provider.span("operation") as span:
        other = pickle.loads(pickle.dumps(span))
    assert not other.is_recording()
    assert (other.trace_id, other.span_id) == (span.trace_id, span.span_id)
    provider.start_span("child", SpanOptions(parent=other)).end()
    assert provider.get("child").parent_id == span.span_id


def test_finished_spans_are_let_go(weak: InMemoryProvider) -> None:
    """Nothing keeps a finished span: not the context, the spans after it, nor those that ended out of order."""
    kept = weak.start_span("runs on", SpanOptions(activate=False))
    ended: list[weakref.ref[Any]] = []
    for number in range(5):
        outer, inner = weak.start_span(f"outer {number}"), weak.start_span("inner")
        ended += [weakref.ref(outer), weakref.ref(inner)]
        outer.end()
        inner.end()
        other = weak.start_span("ended elsewhere")
        ended.append(weakref.ref(other))
        thread = threading.Thread(target=other.end)
        thread.start()
        thread.join(10)
        del outer, inner, other, thread
    assert weak.get_current_span() is None
    gc.collect()
    assert [reference for reference in ended if reference() is not None] == []
    kept.end()


def test_spans_end_on_other_threads_without_a_chain(weak: InMemoryProvider) -> None:
    """A loop whose spans all end elsewhere starts a trace each time, and none of them keeps the one before alive."""
    references, parents = [], []
    with ThreadPoolExecutor(1) as pool:
        for _ in range(20):
            span = weak.start_span("message")
            parents.append(span.parent_id)
            references.append(weakref.ref(span))
            pool.submit(span.end).result(10)
            del span
    assert weak.get_current_span() is None
    gc.collect()
    assert set(parents) == {None}
    assert [reference for reference in references if reference() is not None] == []


def test_a_finalizer_may_end_a_span(provider: InMemoryProvider) -> None:
    """Ending in `__del__`, while another span ends in the same thread, is safe."""

    class Resource:
        def __init__(self, name: str) -> None:
            self.span = provider.start_span(name, SpanOptions(activate=False))
            self.itself = self

        def __del__(self) -> None:
            self.span.end()

    Resource("collected")
    gc.collect()
    assert [span.name for span in provider.spans] == ["collected"]


def test_a_signal_handler_may_trace(provider: InMemoryProvider) -> None:
    """A handler that interrupts anything at all may start and end spans; all are delivered once."""

    def handle(number: int, frame: Any) -> None:
        with provider.span("signal"):
            provider.find("signal")

    previous = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        count = 0
        while len(provider.find("signal")) < 20:
            with provider.span("work") as span:
                span.set_attribute("key", count)
            count += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    stats = provider.stats()
    assert stats.ended == stats.started == stats.exported + sum(stats.dropped.values())
    assert provider.get_current_span() is None


def test_links_of_links(provider: InMemoryProvider) -> None:
    """A `Link` brings its attributes, which the call's replace; a context that is not valid needs something to tell."""
    span = provider.start_span("operation")
    span.add_link(Link(REMOTE, {"own": 1}), {"given": 2})
    span.add_link(TraceContext(trace_state="a=1"))
    span.add_link(TraceContext(), {"told": 3})
    span.end()
    assert [dict(link.attributes) for link in provider.spans[0].links] == [{"given": 2}, {}, {"told": 3}]


def test_attributes_that_cannot_be_exported_are_counted(provider: InMemoryProvider) -> None:
    """What has no valid value or key is missing and counted."""
    odd: dict[Any, Any] = {"none": None, "": 1, "good": 1}
    with provider.span("operation", attributes=odd) as span:
        span.set_attribute([], 1)  # what is tested
    assert span.attributes == {"good": 1}
    assert span.dropped_attributes == 3


def test_sampled_weights_reach_the_children(provider: InMemoryProvider) -> None:
    """A child stands for as many spans as its parent."""
    with provider.span("root") as root:
        shared = root._shared
        root._shared = Shared(shared.flags, weight=4.0, sink=shared.sink, owner=shared.owner)
        with provider.span("child") as child:
            pass
    assert child.adjusted_count == 4.0


_SUMMER = datetime(2023, 11, 14, 22, 13, 20, 123456, timezone.utc)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (5, 5),
        (1.5, 1_500_000_000),
        (True, 1),
        (_SUMMER, 1_700_000_000_123_456_000),
        (_SUMMER.astimezone(timezone(timedelta(hours=5))), 1_700_000_000_123_456_000),
        (_SUMMER.astimezone().replace(tzinfo=None), 1_700_000_000_123_456_000),
    ],
    ids=repr,
)
def test_times(given: Any, expected: int) -> None:
    """Integers are nanoseconds, floats seconds, a datetime without a zone local."""
    assert to_nanoseconds(given) == expected


@pytest.mark.parametrize("given", [-1, 2**63, float("inf"), float("nan"), "x", None])
def test_what_is_no_time(given: Any) -> None:
    """Anything else is refused, which a span answers by asking its clock."""
    with pytest.raises((ValueError, TypeError, OverflowError)):
        to_nanoseconds(given)


def test_bad_values_are_mended() -> None:
    """Text that cannot be had is replaced by the type's name, a kind that is none by INTERNAL."""

    class Mute:
        def __str__(self) -> str:
            raise ValueError("mute")

    assert "Mute" in as_text(Mute())
    assert (as_kind(3), as_kind("x")) == (SpanKind.PRODUCER, SpanKind.INTERNAL)


def test_resolving_nothing() -> None:
    """Without a current span, or with a live one, there is nothing to resolve."""
    assert resolve(None) is None
    assert resolve(REMOTE) is REMOTE


def _collecting(exported: list[Span], ready: threading.Event | None = None, **config: Any) -> RecordingProvider:
    """A provider that exports into the list, once it is `ready`."""

    class Collecting(SpanExporter):
        def export(self, spans: Sequence[Span], timeout: float) -> int:
            assert ready is None or ready.wait(timeout)
            exported.extend(spans)
            return 0

    class Provider(RecordingProvider):
        def create_exporter(self) -> SpanExporter:
            return Collecting()

    return Provider(config=PipelineConfig(**config))


@pytest.mark.parametrize("permits", [0, 100], ids=["handed over", "queued"])
def test_a_clock_that_is_set_back_makes_no_negative_duration(permits: int) -> None:
    """The span ends when it started, for whoever reads it and for the exporter."""
    times = iter((1_000, 400))
    exported: list[Span] = []
    provider = _collecting(exported, clock=lambda: next(times))
    provider.queue.inbox.permit(permits)
    span = provider.span("back in time")
    span.end()
    assert (span.end_time, span.duration) == (1_000, 0)
    assert provider.flush()
    assert (exported[-1]._start, exported[-1]._end) == (1_000, 1_000)
    provider.shutdown()


class _Named:
    def __str__(self) -> str:
        return "https://ann:pw@shop.example/"


@pytest.mark.parametrize("processors", [(), (Redactor(),)], ids=["queued", "asked"])
def test_a_name_that_is_no_text_is_mended_before_anybody_works_with_it(processors: tuple[SpanProcessor, ...]) -> None:
    """Redaction finds the secret in what it becomes, the exporter gets text and a kind, and nothing else is lost."""
    exported: list[Span] = []
    provider = _collecting(exported, processors=processors)
    named: Any = _Named()
    kind: Any = 2
    with provider.span(named, kind=kind, attributes={"item": 7}):
        pass
    assert provider.flush()
    (span,) = exported
    secret = "ann:pw" if not processors else "REDACTED"
    assert secret in span.name
    assert (type(span.name), span._kind, span.attributes) == (str, SpanKind.CLIENT, {"item": 7})
    provider.shutdown()


def test_more_spans_than_permits_are_queued() -> None:
    """While the worker is busy all spans that the queue has room for get into it, and every other one is counted."""
    exported: list[Span] = []
    busy = threading.Event()
    provider = _collecting(exported, busy, batch=BatchOptions(max_queue=6000, delay=0.01))
    provider.span("first").end()
    while not provider.queue._in_flight:
        time.sleep(0.01)
    for _ in range(6500):
        provider.span("more").end()
    stats = provider.stats()
    assert (stats.queued, stats.dropped["queue_full"]) == (6001, 500)
    busy.set()
    assert provider.flush()
    assert len(exported) == 6001
    provider.shutdown()
