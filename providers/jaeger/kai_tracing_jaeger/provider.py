"""The Jaeger provider."""

from __future__ import annotations

from base64 import b64encode
from typing import ClassVar

from kai_tracing_core.processing.http import HttpOptions, HttpSender
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.processor import SpanExporter
from kai_tracing_core.propagation.base import Propagator
from kai_tracing_core.provider import RecordingProvider
from kai_tracing_core.settings import ProviderSettings
from kai_tracing_jaeger.settings import JaegerSettings, Protocol

__all__ = ["JaegerProvider"]


class JaegerProvider(RecordingProvider):
    """Sends spans to Jaeger by OTLP over HTTP, or by thrift to an agent (UDP) or a collector (HTTP).

    `uber-trace-id` is spoken beside W3C Trace Context, since that is what Jaeger's own clients send.
    """

    name: ClassVar[str] = "jaeger"
    settings_model: ClassVar[type[ProviderSettings] | None] = JaegerSettings
    default_propagators: ClassVar[tuple[str, ...]] = ("tracecontext", "baggage", "jaeger")

    def __init__(
        self,
        settings: JaegerSettings | None = None,
        *,
        config: PipelineConfig | None = None,
        propagator: Propagator | None = None,
    ) -> None:
        self.settings = settings or JaegerSettings()
        super().__init__(config=config, propagator=propagator)

    def create_exporter(self) -> SpanExporter:
        """The exporter that the settings describe."""
        settings = self.settings
        # Each way imports only what it needs: jaeger-client takes three times as long as all the rest.
        if settings.protocol is Protocol.AGENT:
            from kai_tracing_jaeger.transport import AgentExporter

            return AgentExporter(settings.agent_host, settings.agent_port, settings.max_packet_size)
        options = HttpOptions(
            settings.url,
            headers={**settings.headers, **_authorization(settings)},
            timeout=settings.timeout,
            gzip=settings.gzip and settings.protocol is Protocol.OTLP,
        )
        if settings.protocol is Protocol.COLLECTOR:
            from kai_tracing_jaeger.transport import CollectorExporter

            return CollectorExporter(HttpSender(options))
        from kai_tracing_core.processing.otlp import OtlpHttpExporter

        return OtlpHttpExporter(options)


def _authorization(settings: JaegerSettings) -> dict[str, str]:
    if settings.user is None:
        return {}
    password = settings.password.get_secret_value() if settings.password else ""
    return {"Authorization": f"Basic {b64encode(f'{settings.user}:{password}'.encode()).decode()}"}
