"""The OpenTelemetry provider."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, ClassVar

from opentelemetry import context as context_api
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits as SdkLimits
from opentelemetry.sdk.trace import SpanProcessor as SdkProcessor
from opentelemetry.sdk.trace.export import SpanExporter as SdkExporter
from opentelemetry.sdk.trace.sampling import Sampler as SdkSampler

from kai_tracing_core.attributes import SpanLimits
from kai_tracing_core.processing.otlp import OtlpHttpExporter
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.processor import SpanExporter, SpanProcessor
from kai_tracing_core.propagation.base import Propagator
from kai_tracing_core.provider import RecordingProvider
from kai_tracing_core.sampling.base import Sampler
from kai_tracing_core.settings import ProviderSettings
from kai_tracing_opentelemetry import bridge
from kai_tracing_opentelemetry.grpc_transport import OtlpGrpcExporter
from kai_tracing_opentelemetry.runtime import OpenTelemetryContext
from kai_tracing_opentelemetry.sdk import (
    ResourceAttributes,
    SdkSpanExporter,
    SdkSpanProcessor,
    SdkSpanSampler,
    to_limits,
)
from kai_tracing_opentelemetry.settings import OpenTelemetrySettings, Protocol
from kai_tracing_opentelemetry.span import OpenTelemetryNonRecordingSpan, OpenTelemetrySpan
from kai_tracing_opentelemetry.tracer import TracerProvider

__all__ = ["OpenTelemetryProvider"]

logger = logging.getLogger(__name__)

# Both, since instrumentations ask for the one or the other.
_SUPPRESS = (context_api._SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation")


class _Nowhere(SpanExporter):
    """Takes the place of an exporter where the SDK's processors bring their own."""

    def export(self, spans: Sequence[Any], timeout: float) -> int:
        return 0  # pragma: no cover - nothing is queued for it


class OpenTelemetryProvider(RecordingProvider):
    """Sends spans by OTLP, and makes the spans of `opentelemetry.trace` beside those of this project's API.

    Objects of OpenTelemetry's SDK can be given wherever this project has its own: `exporter` instead of OTLP,
    `processors`, `resource`, `sampler` and `limits`. With processors of the SDK and no exporter, spans go to the
    processors alone. `set_global` False leaves `opentelemetry.trace` alone; use `tracer_provider` then.
    """

    name: ClassVar[str] = "opentelemetry"
    settings_model: ClassVar[type[ProviderSettings] | None] = OpenTelemetrySettings

    def __init__(
        self,
        settings: OpenTelemetrySettings | None = None,
        *,
        config: PipelineConfig | None = None,
        propagator: Propagator | None = None,
        exporter: SdkExporter | SpanExporter | None = None,
        processors: Sequence[SdkProcessor | SpanProcessor] = (),
        resource: Resource | Mapping[str, Any] | None = None,
        sampler: SdkSampler | Sampler | None = None,
        limits: SdkLimits | SpanLimits | None = None,
        set_global: bool | None = None,
    ) -> None:
        self.settings = settings or OpenTelemetrySettings()
        self._given = exporter
        self._only_processors = exporter is None and any(isinstance(item, SdkProcessor) for item in processors)
        self._set_global = self.settings.set_global if set_global is None else set_global
        config = copy(config or PipelineConfig())
        config.runtime = OpenTelemetryContext()
        config.span_class = OpenTelemetrySpan
        config.non_recording_class = OpenTelemetryNonRecordingSpan
        if resource is not None:
            config.resource = ResourceAttributes(resource) if isinstance(resource, Resource) else resource
        if sampler is not None:
            config.sampler = SdkSpanSampler(sampler) if isinstance(sampler, SdkSampler) else sampler
        if limits is not None:
            config.limits = to_limits(limits) if isinstance(limits, SdkLimits) else limits
        config.processors = (
            *config.processors,
            *(SdkSpanProcessor(item) if isinstance(item, SdkProcessor) else item for item in processors),
        )
        super().__init__(config=config, propagator=propagator)
        self.tracer_provider = TracerProvider(self)

    def initialize(self) -> None:
        """Make this the provider behind `opentelemetry.trace`, unless that is not wanted or has one already."""
        if not self._set_global:
            return
        existing = bridge.foreign_provider()
        if existing is None:
            bridge.install(self)
        elif existing is not self.tracer_provider:
            logger.warning(
                "opentelemetry.trace keeps its %s: its spans join these traces but are exported by it",
                type(existing).__name__,
            )

    def create_exporter(self) -> SpanExporter:
        """The exporter that was given, or the one that the settings describe."""
        if self._given is not None:
            return SdkSpanExporter(self._given) if isinstance(self._given, SdkExporter) else self._given
        if self._only_processors:
            return _Nowhere()
        settings = self.settings
        if settings.protocol is Protocol.GRPC:
            return OtlpGrpcExporter(settings)
        return OtlpHttpExporter(settings.http_options(), json=settings.protocol is Protocol.HTTP_JSON)

    def create_queue(self, exporter: SpanExporter) -> SpanProcessor:
        """The batching queue, or none where only processors take the spans."""
        return SpanProcessor() if self._only_processors else super().create_queue(exporter)

    def _quiet(self) -> None:
        super()._quiet()
        for key in _SUPPRESS:
            context_api.attach(context_api.set_value(key, True))

    def shutdown(self, timeout: float = 5.0) -> bool:
        """Flush and release everything; `opentelemetry.trace` records nothing any more."""
        bridge.uninstall(self)
        return super().shutdown(timeout)
