"""OpenTelemetry's API over any recording provider: every instrumentation there is, whatever the backend."""

from __future__ import annotations

from typing import Any

from opentelemetry import trace as trace_api

from kai_tracing_core.provider import RecordingProvider
from kai_tracing_core.service import TracingService, tracing
from kai_tracing_opentelemetry.tracer import TracerProvider

__all__ = ["Configurator", "foreign_provider", "install", "tracer_provider", "uninstall"]

# OpenTelemetry lets its provider be set once, so this is what is set; what stands behind it may change.
_global = TracerProvider()


def foreign_provider() -> trace_api.TracerProvider | None:
    """The TracerProvider that the application has set for the process, if that is not ours."""
    # Not get_tracer_provider(): that would load what OTEL_PYTHON_TRACER_PROVIDER names, which may be us.
    existing = trace_api._TRACER_PROVIDER
    return None if existing is _global else existing


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
    _global.use(provider)
    if trace_api._TRACER_PROVIDER is None:
        trace_api.set_tracer_provider(_global)
    return _global


def uninstall(provider: RecordingProvider | None = None) -> None:
    """Record nothing of `opentelemetry.trace` any more: of `provider`, where one is given, else at all."""
    if provider is None or _global.provider is provider:
        _global.use(None)


def tracer_provider() -> trace_api.TracerProvider:
    """What `OTEL_PYTHON_TRACER_PROVIDER=kai_tracing` loads: the bridge over what `TRACING_TYPE` names."""
    provider = tracing.provider
    if isinstance(provider, RecordingProvider) and _global.provider is not provider:
        _global.use(provider)
    return _global


class Configurator:
    """Keeps `opentelemetry-instrument` from setting up the SDK where this project's provider was chosen instead."""

    def configure(self, **_: Any) -> None:
        """Make the chosen provider the global one."""
        install()
