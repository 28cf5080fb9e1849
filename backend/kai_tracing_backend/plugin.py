"""What `kai-tracing` loads of this package: its commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_tracing_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

__all__ = ["kai_tracing_register_commands"]


@hookimpl
def kai_tracing_register_commands(cli: click.Group) -> None:
    """Add `kai-tracing serve`."""
    from kai_tracing_backend.cli import serve

    cli.add_command(serve)
