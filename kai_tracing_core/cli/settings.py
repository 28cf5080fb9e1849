"""`kai-tracing settings`: every value, and where it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from kai_tracing_core.settings_sources import Value

__all__ = ["settings"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def settings(as_json: bool) -> None:
    """Every setting with its value and where that came from; secrets are redacted."""
    from kai_tracing_core.errors import ConfigurationError
    from kai_tracing_core.initializer import create
    from kai_tracing_core.settings import TracingSettings

    resolved = TracingSettings()
    problem = None
    try:
        # Making the provider is what asks for its section, and checks it.
        create(resolved).shutdown(0.0)
    except ConfigurationError as error:
        problem = error
    values = resolved.sources()
    if as_json:
        _print_json(values)
    else:
        _print_table(values)
    if problem is not None:
        raise problem


def _print_json(values: Mapping[str, Value]) -> None:
    from kai_tracing_core.settings_sources import variable

    shown = {
        setting: {"variable": variable(setting), "value": _shown(value), "source": value.source}
        for setting, value in values.items()
    }
    click.echo(json.dumps(shown, indent=2, default=str))


def _print_table(values: Mapping[str, Value]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from kai_tracing_core.settings_sources import variable

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold")
    for setting, value in values.items():
        style = "dim" if value.source == "default" else None
        table.add_row(variable(setting), escape(_text(_shown(value))), escape(value.source), style=style)
    Console().print(table)


def _shown(value: Value) -> Any:
    from kai_tracing_core.settings_model import redact

    return redact(value.value, secret=value.secret)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in value.items())
    return str(getattr(value, "value", value))
