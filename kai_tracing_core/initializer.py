"""From settings to a running service."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kai_tracing_core import plugins
from kai_tracing_core.attributes import AttributeValue
from kai_tracing_core.errors import ConfigurationError
from kai_tracing_core.lazy import lazy_logger
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.propagation.baggage import BaggageHosts
from kai_tracing_core.sampling.base import Sampler
from kai_tracing_core.settings import TracingSettings
from kai_tracing_core.version import VERSION

if TYPE_CHECKING:
    from kai_tracing_core.processing.spool import SpoolOptions
    from kai_tracing_core.propagation.base import Propagator
    from kai_tracing_core.provider import TracingProvider
    from kai_tracing_core.service import TracingService
    from kai_tracing_core.span import Span
    from kai_tracing_core.trace_context import TraceContext

__all__ = ["configure", "create", "initialize_tracing"]

logger = lazy_logger(__name__)


def initialize_tracing(
    settings: TracingSettings | None = None, *, service: TracingService | None = None, **overrides: Any
) -> TracingService:
    """Configure `service` (the default one, `tracing`, unless given) and return it.

        initialize_tracing(type="zipkin", service_name="shop", zipkin={"endpoint": "http://zipkin:9411/api/v2/spans"})

    Without a call the default service configures itself from the environment when it is first used. May be called
    again: the provider before is flushed and shut down. The keywords are the fields of `TracingSettings`, and the
    sections of plugins; they go before everything that `settings` says.

    Raises:
        ConfigurationError: a setting is wrong, or a plugin cannot be loaded. The service stays as it was.
    """
    if service is None:
        from kai_tracing_core.service import tracing

        service = tracing
    if settings is None:
        settings = TracingSettings(**overrides)
    elif overrides:
        settings = settings.replace(**overrides)
    service.set_provider(create(settings), enable=settings.enabled)
    service.baggage_hosts = BaggageHosts(settings.baggage_allowed_hosts)
    return service


def configure(service: TracingService) -> None:
    """Configure the service from the environment. Raises ConfigurationError."""
    initialize_tracing(service=service)


def create(settings: TracingSettings) -> TracingProvider:
    """The provider that the settings describe, with everything that belongs to it; nothing is started yet.

    It is made, and its settings are checked, even where `enabled` is False, so that it can be enabled later.

    Raises:
        ConfigurationError: a setting is wrong, or a plugin cannot be loaded.
    """
    if settings.type == "noop":  # records nothing, so that there is nothing to sample, limit or hook into
        if settings.telemetry:
            logger.warning("%s reports nothing: the no-op provider records no spans", settings.describe("telemetry"))
        return plugins.create_provider(settings, PipelineConfig(), _propagator(settings))
    extensions = plugins.extensions()
    config = PipelineConfig(
        resource=_resource(settings),
        sampler=_sampler(settings),
        limits=settings.limits.limits(),
        batch=settings.batch.options(),
        spool=_spool(settings),
        processors=[*_baggage(settings), *_hooks(extensions)],
    )
    extensions.call_each("kai_tracing_configure", settings=settings, config=config)
    config.processors = [*config.processors, *_last_processors(extensions, settings)]
    provider = plugins.create_provider(settings, config, _propagator(settings))
    if settings.telemetry or settings.log_events or settings.asyncio:
        from kai_tracing_core.telemetry.setup import observe

        try:
            observe(provider, settings)
        except ConfigurationError:
            provider.shutdown(0)
            raise
    return provider


def _resource(settings: TracingSettings) -> dict[str, AttributeValue]:
    """What every span's service is (OpenTelemetry semantic conventions, "Resource"), nothing that a fork changes."""
    return {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "kai-tracing",
        "telemetry.sdk.version": VERSION,
        "process.runtime.name": sys.implementation.name,
        "process.runtime.version": sys.version.partition(" ")[0],
        "host.name": _host_name(),
        **settings.resource_attributes,
        "service.name": settings.service_name,
    }


def _host_name() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    from socket import gethostname  # pragma: no cover - Windows

    return gethostname()  # pragma: no cover - Windows


def _spool(settings: TracingSettings) -> SpoolOptions | None:
    directory = settings.spool.directory
    if directory is None:
        return None
    from pathlib import Path

    from kai_tracing_core.processing.spool import SpoolOptions

    return SpoolOptions(Path(directory), settings.spool.max_bytes)


def _baggage(settings: TracingSettings) -> list[SpanProcessor]:
    if not settings.baggage_attributes:
        return []
    from kai_tracing_core.processing.baggage import BaggageProcessor

    return [BaggageProcessor(settings.baggage_attributes)]


def _last_processors(extensions: plugins.Extensions, settings: TracingSettings) -> list[SpanProcessor]:
    """Redaction and the size limit, which come after whatever plugins still change."""
    processors: list[SpanProcessor] = []
    redaction = settings.redaction
    if redaction.enabled:
        from kai_tracing_core.processing.redaction import RedactionRules, Redactor

        rules = RedactionRules(redaction.keys, redaction.patterns, emails=redaction.emails, cards=redaction.cards)
        caller = extensions.caller("kai_tracing_redact")
        hook = (lambda key, value: caller(key=key, value=value)) if caller is not None else None
        try:
            processors.append(Redactor(rules, hook))
        except ValueError as error:
            given = [f"redaction.{name}" for name in ("keys", "patterns") if getattr(redaction, name)]
            raise ConfigurationError(f"{', '.join(map(settings.describe, given))}: {error}") from error
    if settings.limits.span_bytes is not None:
        from kai_tracing_core.processing.size_limit import SizeLimiter

        processors.append(SizeLimiter(settings.limits.span_bytes))
    return processors


def _sampler(settings: TracingSettings) -> Sampler:
    try:
        return plugins.create_sampler(settings)
    except ConfigurationError as error:
        for setting in ("sampler_arg", "sampler"):
            if settings.is_from_otel(setting):
                logger.warning("%s is ignored: %s", settings.sources()[setting].source, error)
                return _sampler(settings.without_otel(setting))
        raise


def _propagator(settings: TracingSettings) -> Propagator | None:
    """The chosen formats, or None for the provider's own ones."""
    chosen = settings.propagators
    if chosen is None:
        return None
    if settings.is_from_otel("propagators"):
        known = plugins.names("propagators")
        for name in chosen:
            if name not in (*known, "none"):
                logger.warning("OTEL_PROPAGATORS: %r is ignored; there are %s", name, ", ".join(known))
        chosen = tuple(name for name in chosen if name in known)
    return plugins.create_propagator(settings, [name for name in chosen if name != "none"])


# -- plugins -----------------------------------------------------------------------------------------------------------


def _hooks(extensions: plugins.Extensions) -> list[SpanProcessor]:
    """A processor for every span hook that somebody implements: one that overrides nothing costs nothing."""
    kinds = {
        "kai_tracing_span_started": _Started,
        "kai_tracing_span_ending": _Ending,
        "kai_tracing_span_ended": _Ended,
    }
    return [kind(caller) for hook, kind in kinds.items() if (caller := extensions.caller(hook)) is not None]


class _Hook(SpanProcessor):
    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call


class _Started(_Hook):
    def on_start(self, span: Span, parent: TraceContext | None) -> None:
        self._call(span=span)


class _Ending(_Hook):
    def on_ending(self, span: Span) -> None:
        self._call(span=span)


class _Ended(_Hook):
    def on_end(self, span: Span) -> None:
        self._call(span=span)
