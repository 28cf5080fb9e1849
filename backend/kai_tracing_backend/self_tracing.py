"""The backend traced by kai-tracing itself: its requests as spans in its own store."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from importlib.metadata import version

from kai_tracing_backend.collector.otlp import decode_protobuf
from kai_tracing_backend.storage.contract import StoreError
from kai_tracing_backend.storage.queue import QueueFullError
from kai_tracing_backend.tenants import Tenants
from kai_tracing_core.processing.otlp_encoding import encode_request
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.processor import Retryable, SpanExporter
from kai_tracing_core.provider import RecordingProvider
from kai_tracing_core.service import TracingService
from kai_tracing_core.span import Span

__all__ = ["SERVICE", "UNTRACED", "self_tracing"]

SERVICE = "kai-tracing-backend"
"""Whose the spans are."""

UNTRACED = ("/healthz", "/readyz", "/metrics")
"""What is asked all the time."""


def self_tracing(tenants: Tenants) -> TracingService:
    """A service whose spans go to the default tenant.

    They do not pass a receiver, so that storing them is no request and makes no more of them.
    """
    config = PipelineConfig(resource={"service.name": SERVICE, "service.version": version("kai-tracing-backend")})
    return TracingService(_StoreProvider(tenants, config), auto=False)


class _StoreProvider(RecordingProvider):
    name = "backend"

    def __init__(self, tenants: Tenants, config: PipelineConfig) -> None:
        self._tenants = tenants
        super().__init__(config=config)

    def create_exporter(self) -> SpanExporter:
        return _StoreExporter(self._tenants)


class _StoreExporter(SpanExporter):
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    def export(self, spans: Sequence[Span], timeout: float) -> int:
        columns, accepted = decode_protobuf(encode_request(spans))
        try:
            self._tenants.get().pipeline.submit(columns.finish()).result(timeout)
        except (QueueFullError, StoreError, FutureTimeoutError) as error:
            raise Retryable(str(error) or "the store is busy") from error
        return accepted.rejected
