"""The tracers to compare with, and ours, each set up with an exporter that throws everything away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.sinks import http_sink, udp_sink

__all__ = ["ddtrace_tracer", "discarding", "jaeger_tracer", "kai_provider", "sdk_provider", "zipkin_handler"]


def discarding(base: type) -> type:
    """The provider class `base` without an exporter worth the name: all else of it is there."""
    from kai_tracing_core.processing.processor import SpanExporter

    class Null(SpanExporter):
        def export(self, spans: Any, timeout: float) -> int:
            return 0

    class Discarding(base):
        def create_exporter(self) -> SpanExporter:
            return Null()

    return Discarding


def kai_provider(**config: Any) -> Any:
    """A recording provider of ours; `config` is that of `PipelineConfig`."""
    from kai_tracing_core import RecordingProvider
    from kai_tracing_core.processing.pipeline import PipelineConfig

    return discarding(RecordingProvider)(config=PipelineConfig(**config))


def sdk_provider(sampler: Any = None, **batch: Any) -> Any:
    """OpenTelemetry's SDK with a batch processor; `batch` is that of `BatchSpanProcessor`."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Null(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider(sampler=sampler)
    provider.add_span_processor(BatchSpanProcessor(Null(), **batch))
    return provider


@contextmanager
def ddtrace_tracer() -> Iterator[Any]:
    """Datadog's tracer, sending to a sink that stands for its agent."""
    import os

    with http_sink() as url:
        os.environ |= {"DD_TRACE_AGENT_URL": url, "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false"}
        os.environ |= {"DD_REMOTE_CONFIGURATION_ENABLED": "false", "DD_TRACE_STARTUP_LOGS": "false"}
        from ddtrace.trace import tracer

        yield tracer
        tracer.shutdown()


@contextmanager
def jaeger_tracer() -> Iterator[tuple[Any, str]]:
    """jaeger-client's tracer with its own reporter, sending to a UDP sink; and the URL of the sink's counts."""
    from jaeger_client import Config

    with udp_sink() as (url, port):
        config = Config(
            {
                "sampler": {"type": "const", "param": 1},
                "local_agent": {"reporting_host": "127.0.0.1", "reporting_port": port},
                "reporter_queue_size": 100_000,
                "logging": False,
            },
            service_name="bench",
            validate=True,
        )
        yield config.new_tracer(), url


def zipkin_handler() -> Any:
    """A py-zipkin transport that throws everything away."""
    from py_zipkin.transport import BaseTransportHandler

    class Null(BaseTransportHandler):
        def get_max_payload_bytes(self) -> None:
            return None

        def send(self, payload: Any) -> None:
            pass

    return Null()
