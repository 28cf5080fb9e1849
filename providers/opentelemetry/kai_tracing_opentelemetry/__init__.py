"""kai-tracing provider for OpenTelemetry: OTLP over HTTP and gRPC, and its API over our spans."""

from kai_tracing_opentelemetry.provider import OpenTelemetryProvider
from kai_tracing_opentelemetry.settings import OpenTelemetrySettings
from kai_tracing_opentelemetry.tracer import TracerProvider

__all__ = ["OpenTelemetryProvider", "OpenTelemetrySettings", "TracerProvider"]
