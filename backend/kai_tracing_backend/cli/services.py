"""`kai-tracing services`: rate, errors and durations of what services do."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from kai_tracing_backend.cli.client import with_client
from kai_tracing_backend.cli.durations import shown
from kai_tracing_backend.cli.output import clean, console, json_option, print_json
from kai_tracing_backend.cli.windows import window_options

if TYPE_CHECKING:
    from kai_tracing_backend.cli.client import ApiClient

__all__ = ["services"]

_PAGE = 1_000
_ERRORS = 0.01  # the share from which they are red


@click.command()
@click.argument("service", required=False)
@window_options("1h")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="Operations of each service.")
@json_option
@with_client
def services(client: ApiClient, service: str | None, since: str, until: str | None, top: int, as_json: bool) -> None:
    """Show what services do, or SERVICE alone: rate, errors and durations, the most frequent operations first.

    Spans that sampling left out are counted in, by those that stand for them.
    """
    rates = list(_rates(client, service=service, start=since, end=until))
    if as_json:
        for rate in rates:
            print_json(rate)
        return
    if not rates:
        click.echo(f"No spans{' of ' + service if service else ''} since {since.removeprefix('now-')}.", err=True)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("service", overflow="ellipsis", no_wrap=True)
    table.add_column("operation", overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_column("kind", overflow="ellipsis", no_wrap=True)
    for name in ("calls", "/s", "errors", "p50", "p95", "p99"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, group in groupby(rates, key=lambda rate: rate["service"]):
        operations = sorted(group, key=lambda rate: -rate["adjustedCount"])
        for index, rate in enumerate(operations[:top]):
            first = Text("" if index else clean(name), "cyan")
            table.add_row(first, Text(clean(rate["operation"])), rate["kind"], *_numbers(rate))
        if len(operations) > top:
            table.add_row("", Text(f"… and {len(operations) - top} more", "dim"))
        table.add_section()
    console().print(table)


def _numbers(rate: dict[str, Any]) -> list[Any]:
    from rich.text import Text

    share, durations = rate["errorRatio"], rate["durations"]
    errors = Text(f"{share:.1%}" if share else "", "bold red" if share >= _ERRORS else "red")
    quantiles = (shown(durations[name]) for name in ("p50", "p95", "p99"))
    return [f"{rate['adjustedCount']:,.0f}", f"{rate['perSecond']:.2f}", errors, *quantiles]


def _rates(client: ApiClient, **parameters: Any) -> Any:
    """All pages."""
    cursor = None
    while True:
        page = client.get("/api/v1/rates", **parameters, limit=_PAGE, cursor=cursor)
        yield from page["rates"]
        if (cursor := page["cursor"]) is None:
            return
        parameters.update(start=page["start"], end=page["end"])
