"""The remote providers that are installed, each set up for a `FaultServer`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from kai_tracing_core import RecordingProvider
from kai_tracing_core.processing.pipeline import PipelineConfig

Backend = Callable[[str, PipelineConfig, float], RecordingProvider]
"""Makes a provider that sends to the server at the URL; one request may take so many seconds."""


def _zipkin(encoding: str) -> Backend:
    def make(url: str, config: PipelineConfig, timeout: float) -> RecordingProvider:
        from kai_tracing_zipkin import ZipkinProvider, ZipkinSettings

        settings = ZipkinSettings(endpoint=f"{url}/api/v2/spans", encoding=encoding, timeout=timeout, gzip=True)
        return ZipkinProvider(settings, config=config)

    return make


def _jaeger(protocol: str, path: str) -> Backend:
    def make(url: str, config: PipelineConfig, timeout: float) -> RecordingProvider:
        from kai_tracing_jaeger import JaegerProvider, JaegerSettings

        return JaegerProvider(JaegerSettings(protocol=protocol, endpoint=url + path, timeout=timeout), config=config)

    return make


def _opentelemetry(protocol: str) -> Backend:
    def make(url: str, config: PipelineConfig, timeout: float) -> RecordingProvider:
        from kai_tracing_opentelemetry.provider import OpenTelemetryProvider
        from kai_tracing_opentelemetry.settings import OpenTelemetrySettings

        settings = OpenTelemetrySettings(endpoint=url, protocol=protocol, timeout=timeout)
        return OpenTelemetryProvider(settings, config=config, set_global=False)

    return make


_ALL: dict[str, tuple[str, Backend]] = {
    "zipkin-json": ("kai_tracing_zipkin", _zipkin("json")),
    "zipkin-protobuf": ("kai_tracing_zipkin", _zipkin("protobuf")),
    "jaeger-otlp": ("kai_tracing_jaeger", _jaeger("otlp", "/v1/traces")),
    "jaeger-collector": ("kai_tracing_jaeger", _jaeger("collector", "/api/traces")),
    "opentelemetry-protobuf": ("kai_tracing_opentelemetry", _opentelemetry("http/protobuf")),
    "opentelemetry-json": ("kai_tracing_opentelemetry", _opentelemetry("http/json")),
}

HTTP_BACKENDS: dict[str, Backend] = {name: make for name, (package, make) in _ALL.items() if find_spec(package)}
"""By the name of the test parameter, those whose package is installed."""
