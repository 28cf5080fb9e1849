"""The Zipkin provider."""

from __future__ import annotations

from typing import ClassVar

from py_zipkin.transport import BaseTransportHandler

from kai_tracing_core.processing.http import HttpOptions, HttpSender
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.processor import SpanExporter, SpanProcessor
from kai_tracing_core.propagation.base import Propagator
from kai_tracing_core.provider import RecordingProvider
from kai_tracing_core.settings import ProviderSettings
from kai_tracing_core.span import Span, SpanKind
from kai_tracing_core.trace_context import PARENT_REMOTE, TraceContext
from kai_tracing_zipkin.encoding import ZipkinEncoder
from kai_tracing_zipkin.settings import ZipkinSettings
from kai_tracing_zipkin.transport import HandlerExporter, ZipkinExporter

__all__ = ["ZipkinProvider"]


class ZipkinProvider(RecordingProvider):
    """Sends spans to Zipkin's version 2 API over HTTP, or through a py-zipkin transport handler.

    B3 is spoken beside W3C Trace Context, since that is what Zipkin's own tracers send.
    """

    name: ClassVar[str] = "zipkin"
    settings_model: ClassVar[type[ProviderSettings] | None] = ZipkinSettings
    default_propagators: ClassVar[tuple[str, ...]] = ("tracecontext", "baggage", "b3")

    def __init__(
        self,
        settings: ZipkinSettings | None = None,
        *,
        config: PipelineConfig | None = None,
        propagator: Propagator | None = None,
        transport_handler: BaseTransportHandler | None = None,
    ) -> None:
        self.settings = settings or ZipkinSettings()
        self._handler = transport_handler
        super().__init__(config=config, propagator=propagator)
        if self.settings.shared:
            self.pipeline.add_processor(_JoinCaller())

    def create_exporter(self) -> SpanExporter:
        """The exporter that the settings describe."""
        settings = self.settings
        encoder = ZipkinEncoder(
            settings.encoding, ip=settings.local_ip, port=settings.local_port, shared=settings.shared
        )
        if self._handler is not None:
            return HandlerExporter(encoder, self._handler)
        options = HttpOptions(settings.endpoint, headers=settings.headers, timeout=settings.timeout, gzip=settings.gzip)
        return ZipkinExporter(encoder, HttpSender(options))


class _JoinCaller(SpanProcessor):
    """Gives a server span the id of the caller's client span: Zipkin joins the two halves.

    Done at the start, so that children and outgoing headers name the id that is exported. The caller's own parent
    is not known here; Zipkin takes it from the caller's half.
    """

    def on_start(self, span: Span, parent: TraceContext | None) -> None:
        if span.kind == SpanKind.SERVER and span._flags & PARENT_REMOTE and span._parent_id:
            span._span_id = span._parent_id
            span._parent_id = 0
