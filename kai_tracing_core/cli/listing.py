"""`kai-tracing providers`, `samplers` and `propagators`: what is installed, and what of it is broken."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kai_tracing_core.plugins import Kind

__all__ = ["propagators", "providers", "samplers"]


@click.command()
def providers() -> None:
    """The installed providers, for TRACING_TYPE."""
    _list("providers", "type")


@click.command()
def samplers() -> None:
    """The installed samplers, for TRACING_SAMPLER."""
    _list("samplers", "sampler")


@click.command()
def propagators() -> None:
    """The installed propagation formats, for TRACING_PROPAGATORS."""
    _list("propagators", "propagators")


def _list(kind: Kind, setting: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from kai_tracing_core.errors import ConfigurationError
    from kai_tracing_core.plugins import find

    chosen = _chosen(setting)
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("", "name", "distribution", "state"):
        table.add_column(column, overflow="fold")
    broken = False
    for plugin in find(kind):
        try:
            plugin.load()
            state = "ok"
        except ConfigurationError as error:
            broken = True
            state = f"[red]broken:[/red] {_escape(str(error.__cause__ or error))}"
        table.add_row("●" if plugin.name in chosen else "", plugin.name, _escape(plugin.distribution), state)
    Console().print(table)
    if broken:
        click.echo("A broken one does no harm unless it is chosen. Repair it with pip, or uninstall it.")


def _chosen(setting: str) -> Collection[str]:
    """The names that the settings say; none where the settings themselves are wrong."""
    from kai_tracing_core.errors import ConfigurationError
    from kai_tracing_core.settings import TracingSettings

    try:
        value = getattr(TracingSettings(), setting)
    except ConfigurationError as error:
        click.echo(f"Error: {error}", err=True)
        return ()
    if isinstance(value, dict):
        return (str(value.get("type")),)
    return (value,) if isinstance(value, str) else value or ()


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
