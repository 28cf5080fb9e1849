"""What gives way when a span, or the queue, is too full."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from kai_tracing_core.processing.batch import BatchOptions, BatchProcessor
from kai_tracing_core.processing.pipeline import PipelineConfig, SpanPipeline
from kai_tracing_core.processing.processor import SpanExporter
from kai_tracing_core.processing.size_limit import SizeLimiter
from kai_tracing_core.span import Span, SpanStatusCode
from kai_tracing_core.trace_context import TraceContext


class _Gate(SpanExporter):
    """Takes nothing until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.names: list[str] = []

    def export(self, spans: Sequence[Span], timeout: float) -> int:
        self.entered.set()
        assert self.open.wait(timeout)
        self.names += [span.name for span in spans]
        return 0


@pytest.fixture
def gate() -> _Gate:
    """A closed exporter."""
    return _Gate()


@pytest.fixture
def pipeline(gate: _Gate) -> Iterator[SpanPipeline]:
    """Spans into a queue of four, whose worker is busy with a span named `first`."""
    queue = BatchProcessor(gate, BatchOptions(max_queue=4, max_batch=1, slow=2.0))
    pipeline = SpanPipeline(PipelineConfig(), queue)
    pipeline.start("first").end()
    assert gate.entered.wait(10)
    yield pipeline
    gate.open.set()
    pipeline.shutdown(10)


def _end(pipeline: SpanPipeline, name: str, *, error: bool = False, seconds: float = 0.0) -> None:
    span = pipeline.start(name, start_time=1)
    if error:
        span.set_status(SpanStatusCode.ERROR)
    span.end(end_time=1 + int(seconds * 1e9))


def _delivered(pipeline: SpanPipeline, gate: _Gate) -> list[str]:
    gate.open.set()
    assert pipeline.flush(10)
    return gate.names[1:]


def test_errors_and_slow_spans_outlive_the_rest(pipeline: SpanPipeline, gate: _Gate) -> None:
    """A full queue gives up its oldest ordinary spans for those with an error and for slow ones."""
    for number in range(4):
        _end(pipeline, f"plain{number}")
    _end(pipeline, "error", error=True)
    _end(pipeline, "slow", seconds=2.0)
    _end(pipeline, "plain4")
    assert _delivered(pipeline, gate) == ["plain2", "plain3", "error", "slow"]
    assert pipeline.sink.stats().dropped == {"queue_full": 3}


def test_a_queue_of_valuable_spans_stays_bounded(pipeline: SpanPipeline, gate: _Gate) -> None:
    """Where all that waits is valuable the newcomer is dropped: the bound holds, and every loss is counted."""
    for number in range(6):
        _end(pipeline, f"error{number}", error=True)
    assert sorted(_delivered(pipeline, gate)) == ["error0", "error1", "error2", "error3"]
    stats = pipeline.sink.stats()
    assert stats.dropped == {"queue_full": 2}
    assert stats.ended == 7 == stats.exported + 2


def test_flush_survives_eviction(pipeline: SpanPipeline, gate: _Gate) -> None:
    """A flush that waits in the full queue is not evicted with the spans around it."""
    flushed: list[bool] = []
    waiting = threading.Thread(target=lambda: flushed.append(pipeline.flush(20)))
    waiting.start()
    for number in range(8):
        _end(pipeline, f"error{number}", error=True)
    gate.open.set()
    waiting.join(20)
    assert flushed == [True]


class _Keep(SizeLimiter):
    """Where the spans of these tests end."""


def _limited(limit: int, attributes: dict[str, Any], events: int = 0) -> Span:
    pipeline = SpanPipeline(PipelineConfig(), _Keep(limit))
    with pipeline.start("op", attributes=attributes) as span:
        for _ in range(events):
            span.add_event("e", {"k": "v" * 50})
    return span


def test_span_bytes_drops_the_largest_attributes_first() -> None:
    """A span over its limit loses its largest attributes, keeps the small ones, and counts what it lost."""
    span = _limited(150, {"small": 1, "huge": "x" * 1000, "large": ["é" * 60], "tiny": "y"})
    assert dict(span.attributes) == {"small": 1, "tiny": "y"}
    assert span.dropped_attributes == 2


def test_span_bytes_drops_the_last_events() -> None:
    """Where attributes alone are not enough, the latest events go."""
    span = _limited(300, {"a": 1}, events=10)
    assert 0 < len(span.events) < 10
    assert len(span.events) + span.dropped_events == 10


def test_span_bytes_drops_the_last_links() -> None:
    """At last the links go, and are counted as dropped ones."""
    pipeline = SpanPipeline(PipelineConfig(), _Keep(300))
    with pipeline.start("op") as span:
        for number in range(1, 11):
            span.add_link(TraceContext(number, number), {"k": "v" * 50})
    assert 0 < len(span.links) < 10
    assert len(span.links) + span.dropped_links == 10


def test_within_the_limit_nothing_changes() -> None:
    """A span that fits is left alone."""
    span = _limited(10_000, {"a": b"bytes", "b": 2.5}, events=3)
    assert (len(span.attributes), len(span.events)) == (2, 3)
    assert (span.dropped_attributes, span.dropped_events, span.dropped_links) == (0, 0, 0)
