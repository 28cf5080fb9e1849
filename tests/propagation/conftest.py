"""A tracing service whose finished spans can be looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from kai_tracing_core import RecordingProvider, Span, TracingService
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.processor import SpanExporter, SpanProcessor
from kai_tracing_core.propagation.composite import BUILT_IN, default_propagator


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[Span], timeout: float) -> int:
        return 0


class Finished(SpanProcessor):
    """Keeps what ended."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def on_end(self, span: Span) -> None:
        self.spans.append(span)


class KeepingProvider(RecordingProvider):
    """Records into a list, without a thread, and speaks every format."""

    def __init__(self, config: PipelineConfig | None = None) -> None:
        super().__init__(config=config, propagator=default_propagator(BUILT_IN))

    def create_exporter(self) -> SpanExporter:
        return _Nowhere()

    def create_queue(self, exporter: SpanExporter) -> SpanProcessor:
        return Finished()


@pytest.fixture
def tracing() -> Iterator[TracingService]:
    """A service that records into a list and speaks every format."""
    service = TracingService(KeepingProvider())
    yield service
    service.shutdown()
