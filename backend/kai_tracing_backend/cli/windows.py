"""`--since` and `--until`, as the API takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from kai_tracing_backend.units import WINDOWS, measured

__all__ = ["window_options"]

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
