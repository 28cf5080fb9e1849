"""What `TRACING_TYPE=jaeger` loads."""

from __future__ import annotations

from kai_tracing_core.hookspecs import hookimpl
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.propagation.base import Propagator
from kai_tracing_core.provider import TracingProvider
from kai_tracing_core.settings import TracingSettings
from kai_tracing_jaeger.provider import JaegerProvider

__all__ = ["kai_tracing_create_provider"]


@hookimpl
def kai_tracing_create_provider(
    settings: TracingSettings, config: PipelineConfig, propagator: Propagator
) -> TracingProvider:
    """The Jaeger provider."""
    return JaegerProvider.from_settings(settings, config, propagator)
