"""What `TRACING_TYPE=inmemory` finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_tracing_core.hookspecs import hookimpl
from kai_tracing_inmemory.provider import InMemoryProvider

if TYPE_CHECKING:
    from kai_tracing_core.processing.pipeline import PipelineConfig
    from kai_tracing_core.propagation.base import Propagator
    from kai_tracing_core.settings import TracingSettings

__all__ = ["kai_tracing_create_provider"]


@hookimpl
def kai_tracing_create_provider(
    settings: TracingSettings, config: PipelineConfig, propagator: Propagator
) -> InMemoryProvider:
    """Make the provider from the settings."""
    return InMemoryProvider.from_settings(settings, config, propagator)
