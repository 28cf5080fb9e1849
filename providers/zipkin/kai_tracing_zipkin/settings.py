"""The settings of the Zipkin provider: `TRACING_ZIPKIN__*`."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import ClassVar

from pydantic import Field, field_validator

from kai_tracing_core.settings import ProviderSettings
from kai_tracing_zipkin.encoding import Encoding

__all__ = ["ZipkinSettings"]


class ZipkinSettings(ProviderSettings):
    """Where and how spans are sent to Zipkin."""

    section: ClassVar[str] = "zipkin"
    otel_names: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "endpoint": ("OTEL_EXPORTER_ZIPKIN_ENDPOINT",),
        "timeout": ("OTEL_EXPORTER_ZIPKIN_TIMEOUT",),
    }

    endpoint: str = Field(
        default="http://localhost:9411/api/v2/spans",
        pattern="^https?://[^/]+",
        description="URL that takes Zipkin v2 spans.",
    )
    encoding: Encoding = Field(default=Encoding.JSON, description="`json` or `protobuf`, both of version 2.")
    timeout: float = Field(default=10.0, gt=0, description="Seconds that one request may take.")
    headers: dict[str, str] = Field(default_factory=dict, description="Headers of every request.", repr=False)
    gzip: bool = Field(default=False, description="Compress requests.")
    local_ip: str | None = Field(default=None, description="IP address of this service's endpoint.")
    local_port: int = Field(default=0, ge=0, le=65535, description="Port of this service's endpoint; 0 leaves it out.")
    shared: bool = Field(
        default=False,
        description="Server spans join the caller's span id, as Zipkin's own B3 tracers do, instead of a new one.",
    )

    @classmethod
    def from_otel(cls, field: str, variable: str, text: str) -> object:
        """OpenTelemetry's time-outs are in milliseconds."""
        return float(text) / 1000 if field == "timeout" else text

    @field_validator("local_ip")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        return value and str(ip_address(value))
