"""The command `kai-tracing` itself.

A command's module is imported when the command is asked for; plugins are loaded only if none of the built-in commands
is meant.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

from kai_tracing_core.errors import ConfigurationError

__all__ = ["cli", "main"]

_BUILT_IN = {
    "demo": "demo:demo",
    "doctor": "doctor:doctor",
    "propagators": "listing:propagators",
    "providers": "listing:providers",
    "samplers": "listing:samplers",
    "sampling": "sampling:sampling",
    "settings": "settings:settings",
}
"""By name, the module in this package and the command in it."""


class _Commands(click.Group):
    """Finds the built-in commands, and those of plugins when something else is asked for."""

    _plugins_loaded = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._load_plugins()
        return sorted({*_BUILT_IN, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _BUILT_IN:
            self._load_plugins()
            return super().get_command(ctx, cmd_name)
        module, _, attribute = _BUILT_IN[cmd_name].partition(":")
        command = getattr(import_module(f"kai_tracing_core.cli.{module}"), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - for the type checker; the table above is ours
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from kai_tracing_core.plugins import names

            if "backend" in names("commands"):
                raise
            where = 'Those of the trace backend come with pip install "kai-tracing-core[backend]".'
            raise click.UsageError(f"{error.message} {where}", error.ctx) from None

    def _load_plugins(self) -> None:
        if self._plugins_loaded:
            return
        self._plugins_loaded = True
        from kai_tracing_core.plugins import extensions

        extensions("plugins", "commands").call_each("kai_tracing_register_commands", cli=self)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kai-tracing-core", prog_name="kai-tracing")
def cli() -> None:
    """What is installed, what is configured, and whether it works."""


def main() -> None:
    """Run the command line; a configuration error is a message and exit code 1."""
    try:
        cli()
    except ConfigurationError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
