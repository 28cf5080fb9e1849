"""The settings of the Zipkin provider: `TRACING_ZIPKIN__*`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from kai_tracing_core.settings import ProviderSettings, http_url, setting
from kai_tracing_core.settings_conversion import with_path
from kai_tracing_zipkin.encoding import Encoding

__all__ = ["ZipkinSettings"]


_PATH = "/api/v2/spans"


def _endpoint(value: str) -> str:
    http_url(value)
    return with_path(value, _PATH)


def _ip(value: str | None) -> str | None:
    from ipaddress import ip_address

    return value and str(ip_address(value))


class ZipkinSettings(ProviderSettings):
    """Where and how spans are sent to Zipkin."""

    section: ClassVar[str] = "zipkin"
    otel_names: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "endpoint": ("OTEL_EXPORTER_ZIPKIN_ENDPOINT",),
        "timeout": ("OTEL_EXPORTER_ZIPKIN_TIMEOUT",),
    }

    endpoint: str = setting(
        default=f"http://localhost:9411{_PATH}",
        check=_endpoint,
        description="URL that takes Zipkin v2 spans; `/api/v2/spans` is added to one without a path.",
    )
    encoding: Encoding = setting(default=Encoding.JSON, description="`json` or `protobuf`, both of version 2.")
    timeout: float = setting(default=10.0, gt=0, description="Seconds that one request may take.")
    headers: dict[str, str] = setting(default={}, description="Headers of every request.", secret=True)
    gzip: bool = setting(default=False, description="Compress requests.")
    local_ip: str | None = setting(default=None, check=_ip, description="IP address of this service's endpoint.")
    local_port: int = setting(
        default=0, ge=0, le=65535, description="Port of this service's endpoint; 0 leaves it out."
    )
    shared: bool = setting(
        default=False,
        description="Server spans join the caller's span id, as Zipkin's own B3 tracers do, instead of a new one.",
    )

    @classmethod
    def from_otel(cls, field: str, variable: str, text: str) -> object:
        """OpenTelemetry's time-outs are in milliseconds."""
        return float(text) / 1000 if field == "timeout" else text
