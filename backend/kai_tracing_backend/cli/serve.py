"""`kai-tracing serve`."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from kai_tracing_backend.settings import BackendSettings
    from kai_tracing_core.settings_model import Field

__all__ = ["serve"]


class _Serve(click.Command):
    """Has an option for every setting, made when it is asked for: importing the settings takes long."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if not self.params:
            from kai_tracing_backend.settings import BackendSettings

            self.params = [_option(name, field) for name, field in BackendSettings.declared.items()]
        return super().get_params(ctx)


def _option(name: str, field: Field) -> click.Option:
    from kai_tracing_backend.settings import option

    declarations, flag = [option(name)], field.kind is bool
    if flag:
        declarations = [f"{option(name)}/--no-{option(name)[2:]}"]
    described = (field.description or "")[:1].upper() + (field.description or "")[1:]
    default = "" if field.default in (None, "", (), False) else f"  [default: {field.default}]"
    return click.Option(declarations, default=None, help=f"{described}.{default}", metavar=None if flag else "VALUE")


@click.command(cls=_Serve)
def serve(**options: Any) -> None:
    """Collect, store and answer for traces, until it is interrupted.

    Each option is also a setting, TRACING_BACKEND_DATA and so on; the option wins.
    """
    from kai_tracing_backend.access.tokens import TokenFileError
    from kai_tracing_backend.listeners import PortError
    from kai_tracing_backend.retention.policy import PolicyError
    from kai_tracing_backend.settings import BackendSettings
    from kai_tracing_backend.storage.contract import StoreError

    settings = BackendSettings(**{name: value for name, value in options.items() if value is not None})
    try:
        asyncio.run(_run(settings))
    except (PolicyError, PortError, StoreError, TokenFileError) as error:
        raise click.ClickException(str(error)) from error


async def _run(settings: BackendSettings) -> None:
    from kai_tracing_backend.app import Backend
    from kai_tracing_backend.logs import log_to_stderr

    backend = Backend(settings)
    if not backend.listeners:
        backend.close()
        raise click.ClickException("every port is 0, so that nothing can reach it: set one, such as --api-port 16686")
    log_to_stderr(settings.log_format, settings.log_level, backend.tracing)
    backend.stop_on_signals()
    click.echo(f"kai-tracing keeps its spans in {settings.data} and listens on {settings.host}:")
    width = max((len(listener.title) for listener in backend.listeners), default=0)
    for listener in backend.listeners:
        click.echo(f"  {listener.title:<{width}}  {listener.url}")
    gc.freeze()  # what was made for the start stays to the end
    gc.set_threshold(50_000)  # spans that are being decoded are no garbage, and there are thousands of them
    await backend.run()
