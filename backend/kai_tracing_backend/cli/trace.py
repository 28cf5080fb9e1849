"""`kai-tracing trace`: one trace as a waterfall."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from kai_tracing_backend.cli.client import with_client
from kai_tracing_backend.cli.output import console, json_option, print_json

if TYPE_CHECKING:
    from kai_tracing_backend.cli.client import ApiClient

__all__ = ["trace"]


@click.command()
@click.argument("trace_id", metavar="ID")
@click.option("-v", "--verbose", count=True, help="Attributes, events and links, too; twice: resource and scope.")
@click.option("--limit", type=click.IntRange(min=0), default=500, show_default=True, help="Spans to draw; 0 is all.")
@json_option
@with_client
def trace(client: ApiClient, trace_id: str, verbose: int, limit: int, as_json: bool) -> None:
    """Draw the trace with this ID, or the only one whose ID begins so."""
    if not re.fullmatch("[0-9a-fA-F]{1,32}", trace_id):
        raise click.BadParameter(f"{trace_id!r} is no trace's: 1 to 32 hexadecimal digits", param_hint="ID")
    document = client.get(f"/api/v1/traces/{trace_id.lower()}")
    if as_json:
        print_json(document)
        return
    from kai_tracing_backend.cli.waterfall import waterfall

    out = console()
    for line in waterfall(document["spans"], out.width, verbose=verbose, limit=limit):
        out.print(line)
