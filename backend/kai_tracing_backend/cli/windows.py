"""`--since` and `--until`, as the API takes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import click

from kai_tracing_backend.units import WINDOWS, measured

if TYPE_CHECKING:
    from kai_tracing_backend.cli.client import ApiClient

__all__ = ["nothing_found", "window_options"]

_HELP = "a duration back from now (`15m`), RFC 3339, or nanoseconds since the epoch."


def window_options(since: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options, as the parameters `since` and `until`; `since` is the default of the former."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option("--until", type=_moment, help=f"Until when, now unless given: {_HELP}")(command)
        return click.option("--since", type=_moment, default=since, show_default=True, help=f"From when on: {_HELP}")(
            command
        )

    return add


def _moment(text: str) -> str:
    return text if measured(text, WINDOWS) is None else f"now-{text}"


def nothing_found(client: ApiClient, what: str, since: str) -> None:
    """Say that there is nothing in the window, and which days there are spans of."""
    days = client.get("/api/v1/stats")["days"]
    text = f"{what} is found with --since {since.removeprefix('now-')}."
    if days:
        there = f"of {days[0]}" if len(days) == 1 else f"from {min(days)} to {max(days)}"
        week = (datetime.now(timezone.utc) - timedelta(days=6)).date().isoformat()
        first = "7d" if min(days) >= week else f"{min(days)}T00:00:00Z"
        text += f" There are spans {there}: --since {first} finds them all."
    else:
        text += " The store is empty."
    click.echo(text, err=True)
