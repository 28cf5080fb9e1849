"""Every hook, in one place.

Hooks register or create objects, once, at start-up; the objects do the work. A pluggy call costs about 2 µs, so the
three span hooks at the end are called only if a plugin implements them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

from kai_tracing_core.discovery import PROJECT

if TYPE_CHECKING:
    import click

    from kai_tracing_core.processing.pipeline import PipelineConfig
    from kai_tracing_core.propagation.base import Propagator
    from kai_tracing_core.provider import TracingProvider
    from kai_tracing_core.sampling.base import Sampler
    from kai_tracing_core.settings import TracingSettings
    from kai_tracing_core.span import Span
    from kai_tracing_core.telemetry.contract import TelemetryService

__all__ = ["hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def kai_tracing_create_provider(
    settings: TracingSettings, config: PipelineConfig, propagator: Propagator | None
) -> TracingProvider | None:
    """Make the provider that `TRACING_TYPE` names by the plugin's entry point in `kai_tracing.providers`.

    `propagator` None leaves the formats to the provider: the settings do not say which.
    Called once, on the chosen plugin only, when tracing is initialised. What it raises stops the start-up with a
    message that names the plugin's distribution.
    """


@hookspec(firstresult=True)
def kai_tracing_create_sampler(settings: TracingSettings, argument: str | None) -> Sampler | None:
    """Make the sampler that `TRACING_SAMPLER` names by the plugin's entry point in `kai_tracing.samplers`.

    `argument` is `TRACING_SAMPLER_ARG`. Called once, on the chosen plugin only. A `ValueError` says what is wrong
    with the argument.
    """


@hookspec(firstresult=True)
def kai_tracing_create_propagator(settings: TracingSettings) -> Propagator | None:
    """Make the propagator that `TRACING_PROPAGATORS` names by the plugin's entry point in `kai_tracing.propagators`."""


@hookspec(firstresult=True)
def kai_tracing_create_telemetry(settings: TracingSettings) -> TelemetryService | None:
    """Make a telemetry service that `TRACING_TELEMETRY` names by the plugin's entry point in `kai_tracing.telemetry`.

    Called once, on the chosen plugins only. What it raises stops the start-up.
    """


@hookspec
def kai_tracing_configure(settings: TracingSettings, config: PipelineConfig) -> None:
    """Change what the provider is about to be made of: add processors, resource attributes, limits.

    Called once on every plugin in `kai_tracing.plugins`, before the provider is made. What it raises is logged and
    the plugin's changes are as far as they went.
    """


@hookspec
def kai_tracing_register_commands(cli: click.Group) -> None:
    """Add commands to `kai-tracing`. Called when the command line looks for one.

    On every plugin in `kai_tracing.commands`, which nothing else loads, and in `kai_tracing.plugins`.
    """


@hookspec(firstresult=True)
def kai_tracing_redact(key: str, value: object) -> object | None:
    """A replacement for an attribute's value, or None to leave it. May be called for every new attribute key."""


@hookspec
def kai_tracing_span_started(span: Span) -> None:
    """A recorded span started. On the application's thread: be quick. What it raises is logged, the span goes on."""


@hookspec
def kai_tracing_span_ending(span: Span) -> None:
    """A recorded span is about to end and may still be changed. On the application's thread, as above."""


@hookspec
def kai_tracing_span_ended(span: Span) -> None:
    """A recorded span ended and goes to its exporter. On the application's thread, as above."""
