"""What `TRACING_TYPE=opentelemetry` loads."""

from __future__ import annotations

from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.propagation.base import Propagator
from kai_tracing_core.provider import TracingProvider
from kai_tracing_core.settings import TracingSettings
from kai_tracing_opentelemetry.bridge import foreign_provider
from kai_tracing_opentelemetry.joined import JoinedProvider
from kai_tracing_opentelemetry.provider import OpenTelemetryProvider

__all__ = ["create_provider"]


def create_provider(settings: TracingSettings, config: PipelineConfig, propagator: Propagator) -> TracingProvider:
    """The OpenTelemetry provider; where the application has set a TracerProvider already, one that joins it."""
    existing = foreign_provider()
    if existing is not None:
        return JoinedProvider(existing, propagator=propagator)
    return OpenTelemetryProvider.from_settings(settings, config, propagator)
