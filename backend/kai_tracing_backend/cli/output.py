"""What commands write: tables and trees for people, JSON for machines."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["clean", "console", "json_option", "print_json"]

F = TypeVar("F", bound=Callable[..., Any])

_UNWATCHED_WIDTH = 160
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def json_option(command: F) -> F:
    """`--json`, as the parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON, for machines.")(command)


def console() -> Console:
    """Where people read. Lines may be as long as they are where nobody watches, and NO_COLOR is honoured."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _UNWATCHED_WIDTH)


def print_json(document: Any) -> None:
    """One JSON document on one line, as UTF-8, so that a stream of them is JSON Lines."""
    click.echo(json.dumps(document, ensure_ascii=False, separators=(",", ":")))


def clean(text: str) -> str:
    """What a sender said, without what would move the terminal's cursor, colour it or turn its letters around."""
    return _CONTROL.sub("�", text)
