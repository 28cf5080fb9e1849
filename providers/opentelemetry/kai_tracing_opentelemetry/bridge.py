"""OpenTelemetry's API over any recording provider: every instrumentation there is, whatever the backend."""

from __future__ import annotations

from opentelemetry import trace as trace_api

from kai_tracing_core.provider import RecordingProvider
from kai_tracing_core.service import TracingService, tracing
from kai_tracing_opentelemetry.tracer import TracerProvider

__all__ = ["GLOBAL", "foreign_provider", "install", "tracer_provider", "uninstall"]

GLOBAL = TracerProvider()
"""OpenTelemetry lets its provider be set once, so this is what is set; what stands behind it may change."""


def foreign_provider() -> trace_api.TracerProvider | None:
    """The TracerProvider that the application has set for the process, if that is not ours."""
    # Not get_tracer_provider(): that would load what OTEL_PYTHON_TRACER_PROVIDER names, which may be us.
    existing = trace_api._TRACER_PROVIDER
    return None if existing is GLOBAL else existing


def install(target: TracingService | RecordingProvider = tracing) -> TracerProvider:
    """Have `opentelemetry.trace` make spans of the service's provider, or of the provider given.

    From then on the current span is kept in OpenTelemetry's context, so that spans of both APIs are each other's
    parents. Installing another provider later takes over tracers that exist already.

    Raises:
        TypeError: the provider does not record spans of this project's (`RecordingProvider`).
        RuntimeError: the application has set another TracerProvider, which OpenTelemetry does not allow to replace.
    """
    provider = target.provider if isinstance(target, TracingService) else target
    if not isinstance(provider, RecordingProvider):
        raise TypeError(f"the bridge needs a provider that records spans, not {type(provider).__name__}")
    if foreign_provider() is not None:
        raise RuntimeError(
            f"a TracerProvider is set already ({type(foreign_provider()).__name__}): install the bridge before it, "
            "or use TRACING_TYPE=opentelemetry, which joins it"
        )
    GLOBAL.use(provider)
    if trace_api._TRACER_PROVIDER is None:
        trace_api.set_tracer_provider(GLOBAL)
    return GLOBAL


def uninstall(provider: RecordingProvider | None = None) -> None:
    """Record nothing of `opentelemetry.trace` any more: of `provider`, where one is given, else at all."""
    if provider is None or GLOBAL.provider is provider:
        GLOBAL.use(None)


def tracer_provider() -> trace_api.TracerProvider:
    """What `OTEL_PYTHON_TRACER_PROVIDER=kai_tracing` loads: the bridge over what `TRACING_TYPE` names."""
    provider = tracing.provider
    if isinstance(provider, RecordingProvider) and GLOBAL.provider is not provider:
        GLOBAL.use(provider)
    return GLOBAL
