"""`kai-tracing serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ["serve"]

_PORT = click.IntRange(0, 65_535)


@click.command()
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Folder of the spans.")
@click.option("--host", help="Address to listen on; this machine alone by default.")
@click.option("--api-port", type=_PORT, help="Port of the API; 0 is off. Default 16686.")
@click.option("--otlp-http-port", type=_PORT, help="Port of OTLP over HTTP; 0 is off. Default 4318.")
@click.option("--zipkin-port", type=_PORT, help="Port of Zipkin v2; 0 is off. Default 9411.")
@click.option("--memory-limit", help='What the store may take; default "1GB".')
def serve(**options: Any) -> None:
    """Collect, store and answer for traces, until it is interrupted.

    Each option is also a setting, TRACING_BACKEND_DATA and so on; the option wins.
    """
    import asyncio

    from pydantic import ValidationError

    from kai_tracing_backend.app import Backend, PortError
    from kai_tracing_backend.settings import BackendSettings
    from kai_tracing_backend.storage.contract import StoreError

    try:
        settings = BackendSettings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        faults = [
            f"TRACING_BACKEND_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in error.errors()
        ]
        raise click.ClickException("; ".join(faults)) from error

    async def run() -> None:
        backend = Backend(settings)
        backend.stop_on_signals()
        click.echo(f"kai-tracing keeps its spans in {settings.data} and listens on {settings.host}:")
        for title, port in (
            ("API", settings.api_port),
            ("OTLP/HTTP", settings.otlp_http_port),
            ("Zipkin", settings.zipkin_port),
        ):
            if port:
                click.echo(f"  {title:<10} http://{settings.host}:{port}")
        await backend.run()

    try:
        asyncio.run(run())
    except (PortError, StoreError) as error:
        raise click.ClickException(str(error)) from error
