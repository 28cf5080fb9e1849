"""What `kai-tracing` loads of this package: its commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_tracing_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

__all__ = ["kai_tracing_register_commands"]


@hookimpl
def kai_tracing_register_commands(cli: click.Group) -> None:
    """Add `kai-tracing serve` and the commands that ask a running backend."""
    from kai_tracing_backend.cli import COMMANDS

    for command in COMMANDS:
        cli.add_command(command)
