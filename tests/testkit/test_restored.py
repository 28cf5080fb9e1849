"""What a capture restores when there is more than the service to restore."""

from __future__ import annotations

import pytest
from kai_tracing_inmemory import capture_spans
from kai_tracing_opentelemetry import OpenTelemetryProvider
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kai_tracing_core import initialize_tracing, tracing


def test_opentelemetry_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider behind `opentelemetry.trace` is the one before again, though the application replaced it."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    kept = InMemorySpanExporter()
    with capture_spans():  # so that the default service is left as it is
        tracing.set_provider(OpenTelemetryProvider(processors=[SimpleSpanProcessor(kept)]))
        tracer = trace.get_tracer("library")
        with capture_spans() as spans:
            initialize_tracing(type="opentelemetry")
            with tracer.start_as_current_span("inside"), tracing.span("below"):
                pass
            tracing.start_span("left open")
        spans.assert_tree("inside\n  below")
        with tracer.start_as_current_span("afterwards"):
            pass
    (span,) = kept.get_finished_spans()
    assert (span.name, span.parent) == ("afterwards", None)
