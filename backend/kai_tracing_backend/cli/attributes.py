"""`kai-tracing attributes`: what spans have, and which values, to write queries with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from kai_tracing_backend.cli.client import with_client
from kai_tracing_backend.cli.output import clean, console, json_option, print_json
from kai_tracing_backend.cli.windows import nothing_found, window_options
from kai_tracing_backend.values import from_otlp, plain

if TYPE_CHECKING:
    from kai_tracing_backend.cli.client import ApiClient

__all__ = ["attributes"]

_PAGE = 1_000


@click.command()
@click.argument("key", required=False)
@click.option("--where", help="Of the spans alone that this selects: '{ status = error }'.")
@click.option("--scope", type=click.Choice(["span", "resource"]), help="Of spans or of their resources alone.")
@click.option("--prefix", default="", help="How the key, or the value of KEY, begins.")
@click.option("--limit", type=click.IntRange(1, _PAGE), default=30, show_default=True, help="Lines at most.")
@click.option(
    "--cursor", help="Go on where an earlier page ended, which says its cursor; with the same --since and --until."
)
@window_options("1h")
@json_option
@with_client
def attributes(client: ApiClient, key: str | None, since: str, until: str | None, as_json: bool, **asked: Any) -> None:
    """List the attributes of spans and resources, or the values of KEY, the most frequent first."""
    path = "/api/v1/attributes" if key is None else f"/api/v1/attributes/{quote(key, safe='')}/values"
    page = client.get(path, start=since, end=until, **asked)
    found = page["attributes" if key is None else "values"]
    if as_json:
        for one in found:
            print_json(one)
    elif found:
        _print(found, key)
    else:
        nothing_found(client, "None", since)
    if page["cursor"] is not None:
        click.echo(f"There are more: --limit {min(_PAGE, 10 * asked['limit'])}, or --cursor {page['cursor']}", err=True)


def _print(found: list[dict[str, Any]], key: str | None) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    names = ("attribute", "type") if key is None else (clean(key), "type")
    for name in names:
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    table.add_column("spans", justify="right", no_wrap=True)
    for one in found:
        table.add_row(*_cells(one, key), f"{one['spans']:,}")
    console().print(table)


def _cells(one: dict[str, Any], key: str | None) -> tuple[Any, ...]:
    from rich.text import Text

    if key is None:
        return Text(clean(f"{one['scope']}.{one['key']}")), one["type"]
    return Text(clean(plain(from_otlp(one["value"])))), next(iter(one["value"]), "").removesuffix("Value")
