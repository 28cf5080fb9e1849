"""From the settings to what observes a provider's spans."""

from __future__ import annotations

import logging

from kai_tracing_core import plugins
from kai_tracing_core.errors import ConfigurationError
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.provider import RecordingProvider, TracingProvider
from kai_tracing_core.settings import TracingSettings
from kai_tracing_core.telemetry.contract import TelemetryService

__all__ = ["create_telemetry", "observe"]

logger = logging.getLogger(__name__)


def observe(provider: TracingProvider, settings: TracingSettings) -> None:
    """Attach the telemetry services, log events and asyncio measurements that the settings ask for.

    Raises:
        ConfigurationError: a telemetry service cannot be made.
    """
    if not isinstance(provider, RecordingProvider):
        logger.warning("the provider %r records its spans itself: there is nothing here to measure", provider.name)
        return
    services = create_telemetry(settings)
    for service in services:
        service.observe_stats(provider.stats)
    provider.telemetry = services
    for processor in _processors(provider, settings, services):
        # Before redaction, which sees what they add.
        provider.pipeline.add_processor(processor, first=True)


def create_telemetry(settings: TracingSettings) -> tuple[TelemetryService, ...]:
    """The services that `TRACING_TELEMETRY` names.

    Raises:
        ConfigurationError: one cannot be made; those before it are closed.
    """
    made: list[TelemetryService] = []
    try:
        made.extend(_create(name, settings) for name in dict.fromkeys(settings.telemetry))
    except ConfigurationError:
        for service in made:
            service.close()
        raise
    return tuple(made)


def _create(name: str, settings: TracingSettings) -> TelemetryService:
    plugin = plugins.choose("telemetry", name, settings.describe("telemetry"))
    try:
        return plugins.load(
            plugin,
            "kai_tracing_create_telemetry",
            TelemetryService,  # type: ignore[type-abstract]  # only subclasses are made
            lambda service: service.from_settings(settings),
            settings=settings,
        )
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"the {plugin} cannot be started: {type(error).__name__}: {error}") from error


def _processors(
    provider: RecordingProvider, settings: TracingSettings, services: tuple[TelemetryService, ...]
) -> list[SpanProcessor]:
    processors: list[SpanProcessor] = []
    if services:
        from kai_tracing_core.telemetry.metrics import SpanMetrics

        processors.append(SpanMetrics(services))
    if settings.log_events:
        from kai_tracing_core.telemetry.log_events import LogEvents

        processors.append(LogEvents(provider, settings.log_events_level))
    if settings.asyncio:
        from kai_tracing_core.telemetry.asyncio_truth import AsyncioTruth

        processors.append(
            AsyncioTruth(provider.get_current_span, stall=settings.asyncio_stall, gc_pause=settings.asyncio_gc_pause)
        )
    return processors
