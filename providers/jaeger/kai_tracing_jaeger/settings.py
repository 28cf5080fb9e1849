"""The settings of the Jaeger provider: `TRACING_JAEGER__*`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import ClassVar

from kai_tracing_core.settings import ProviderSettings, SecretStr, http_url, setting
from kai_tracing_core.settings_conversion import with_path

__all__ = ["JaegerSettings", "Protocol"]


class Protocol(str, Enum):
    """The way of spans to Jaeger."""

    OTLP = "otlp"
    AGENT = "agent"
    COLLECTOR = "collector"


_PLACES = {
    Protocol.OTLP: ("http://localhost:4318", "/v1/traces"),
    Protocol.COLLECTOR: ("http://localhost:14268", "/api/traces"),
}


class JaegerSettings(ProviderSettings):
    """Where and how spans are sent to Jaeger."""

    section: ClassVar[str] = "jaeger"
    otel_names: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "endpoint": ("OTEL_EXPORTER_JAEGER_ENDPOINT",),
        "timeout": ("OTEL_EXPORTER_JAEGER_TIMEOUT",),
        "agent_host": ("OTEL_EXPORTER_JAEGER_AGENT_HOST",),
        "agent_port": ("OTEL_EXPORTER_JAEGER_AGENT_PORT",),
        "user": ("OTEL_EXPORTER_JAEGER_USER",),
        "password": ("OTEL_EXPORTER_JAEGER_PASSWORD",),
    }

    protocol: Protocol = setting(
        default=Protocol.OTLP,
        description="`otlp` (Jaeger 1.35 and later), `agent` (thrift over UDP) or `collector` (thrift over HTTP).",
    )
    endpoint: str | None = setting(
        default=None,
        check=http_url,
        description="URL that takes OTLP (http://localhost:4318) or thrift (:14268); the path may be left out.",
    )
    timeout: float = setting(default=10.0, gt=0, description="Seconds that one request may take.")
    headers: dict[str, str] = setting(default={}, description="Headers of every request.", secret=True)
    gzip: bool = setting(default=False, description="Compress requests; for OTLP.")
    user: str | None = setting(default=None, description="User for HTTP basic authentication.")
    password: SecretStr | None = setting(default=None, description="Password for HTTP basic authentication.")
    agent_host: str = setting(default="localhost", description="Where the agent is.")
    agent_port: int = setting(default=6831, ge=1, le=65535, description="The agent's UDP port for compact thrift.")
    max_packet_size: int = setting(default=65000, ge=1000, le=65507, description="Bytes that a UDP packet may have.")

    @classmethod
    def from_otel(cls, field: str, variable: str, text: str) -> object:
        """OpenTelemetry's time-outs are in milliseconds."""
        return float(text) / 1000 if field == "timeout" else text

    @property
    def url(self) -> str:
        """The endpoint in effect."""
        server, path = _PLACES[self.protocol]
        return with_path(self.endpoint or server, path)
