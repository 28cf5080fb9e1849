"""The settings of the OpenTelemetry provider: `TRACING_OPENTELEMETRY__*`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar
from urllib.parse import urlsplit

from kai_tracing_core.processing.http import HttpOptions
from kai_tracing_core.settings import ProviderSettings, setting
from kai_tracing_core.settings_sources import parse_key_values

__all__ = ["Compression", "OpenTelemetrySettings", "Protocol"]

_TRACES_PATH = "v1/traces"
_MILLISECONDS = 1000


class Protocol(str, Enum):
    """How OTLP is sent."""

    HTTP_PROTOBUF = "http/protobuf"
    HTTP_JSON = "http/json"
    GRPC = "grpc"


class Compression(str, Enum):
    """How requests are compressed."""

    NONE = "none"
    GZIP = "gzip"


def _otlp(name: str) -> tuple[str, str]:
    """The variables of OTLP's environment for one option; the signal's own goes first."""
    return f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}"


def _parse_headers(value: Any) -> Any:
    """`name=value` pairs, percent-encoded, separated by commas."""
    if not isinstance(value, str):
        return value
    return {name.lower(): text for name, text in parse_key_values(value).items()}


def _is_url(value: str | None) -> str | None:
    if value and "://" in value and urlsplit(value).scheme not in ("http", "https"):
        raise ValueError("the scheme is neither http nor https")
    return value or None


class OpenTelemetrySettings(ProviderSettings):
    """Where and how spans are sent (OpenTelemetry specification, "OpenTelemetry Protocol Exporter")."""

    section: ClassVar[str] = "opentelemetry"
    otel_names: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "endpoint": ("OTEL_EXPORTER_OTLP_ENDPOINT",),
        "traces_endpoint": ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",),
        "protocol": _otlp("PROTOCOL"),
        "headers": _otlp("HEADERS"),
        "compression": _otlp("COMPRESSION"),
        "timeout": _otlp("TIMEOUT"),
        "certificate": _otlp("CERTIFICATE"),
        "client_certificate": _otlp("CLIENT_CERTIFICATE"),
        "client_key": _otlp("CLIENT_KEY"),
        "insecure": _otlp("INSECURE"),
    }

    endpoint: str | None = setting(
        default=None,
        check=_is_url,
        description="Base URL of the collector (HTTP adds `v1/traces`): http://localhost:4318, or for gRPC :4317.",
    )
    traces_endpoint: str | None = setting(
        default=None, check=_is_url, description="URL for spans, used as it is; goes before `endpoint`."
    )
    protocol: Protocol = setting(default=Protocol.HTTP_PROTOBUF, description="`http/protobuf`, `http/json` or `grpc`.")
    headers: dict[str, str] = setting(
        default={},
        parse=_parse_headers,
        description="Headers, or gRPC metadata, of every request: `name=value,name=value`.",
        secret=True,
    )
    compression: Compression = setting(default=Compression.NONE, description="`gzip` or `none`.")
    timeout: float = setting(default=10.0, gt=0, description="Seconds that one request may take.")
    certificate: str | None = setting(default=None, description="PEM file of the authorities that are trusted.")
    client_certificate: str | None = setting(default=None, description="PEM file of the client's certificate.")
    client_key: str | None = setting(default=None, description="PEM file of the client's key.")
    insecure: bool = setting(default=False, description="gRPC without TLS where the endpoint names no scheme.")
    set_global: bool = setting(
        default=True, description="Make the spans of code that uses `opentelemetry.trace` part of the same traces."
    )

    @classmethod
    def from_otel(cls, field: str, variable: str, text: str) -> object:
        """What an `OTEL_*` variable means here.

        A time-out is in milliseconds by the specification and in seconds to OpenTelemetry's own exporters for Python;
        nobody waits for a request for a quarter of an hour or for less than a second, so 1000 tells them apart.
        """
        if field == "timeout" and float(text) >= _MILLISECONDS:
            return float(text) / _MILLISECONDS
        return text

    @property
    def url(self) -> str:
        """Where spans are sent: for HTTP the whole URL, for gRPC one whose path does not count."""
        if self.traces_endpoint:
            return self.traces_endpoint
        if self.protocol is Protocol.GRPC:
            return self.endpoint or "http://localhost:4317"
        return f"{(self.endpoint or 'http://localhost:4318').rstrip('/')}/{_TRACES_PATH}"

    def http_options(self) -> HttpOptions:
        """The options of an HTTP sender."""
        return HttpOptions(
            self.url,
            headers=self.headers,
            timeout=self.timeout,
            gzip=self.compression is Compression.GZIP,
            ca_file=self.certificate,
            client_cert_file=self.client_certificate,
            client_key_file=self.client_key,
        )
