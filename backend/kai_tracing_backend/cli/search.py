"""`kai-tracing search` and `kai-tracing tail`: the traces that a query finds, those there are and those that come."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from kai_tracing_backend.cli.client import with_client
from kai_tracing_backend.cli.output import console, json_option, print_json
from kai_tracing_backend.cli.windows import nothing_found, window_options

if TYPE_CHECKING:
    from kai_tracing_backend.cli.client import ApiClient

__all__ = ["search", "tail"]

_PATH = "/api/v1/search"
_PAGE = 200  # traces of a request
_SETTLED = 10.0  # seconds after which a trace is shown that still grows
_LOOK_BACK = 600  # seconds that `tail` looks for late spans of new traces
_REMEMBERED = 20_000  # traces


@click.command()
@click.argument("query", default="{ }")
@window_options("1h")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Traces at most.")
@click.option("--cursor", help="Go on where an earlier page ended, which says its cursor.")
@click.option("-v", "--verbose", is_flag=True, help="Also the spans that were found.")
@json_option
@with_client
def search(
    client: ApiClient,
    query: str,
    since: str,
    until: str | None,
    limit: int,
    cursor: str | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """List the traces that QUERY finds, the newest first: '{ status = error && duration > 200ms }'.

    Without a query that is every trace.
    """
    out = table = None
    shown = 0
    while shown < limit:
        page = client.get(_PATH, q=query, start=since, end=until, limit=min(limit - shown, _PAGE), cursor=cursor)
        shown += len(page["traces"])
        cursor = page["cursor"]
        for trace in page["traces"]:
            if as_json:
                print_json(trace)
                continue
            if out is None or table is None:
                out, table = _table()
                out.print(table.head())
            out.print(table.line(trace))
            for line in table.found(trace) if verbose else ():
                out.print(line)
        if cursor is None:
            break
    if not shown and not as_json:
        nothing_found(client, "No trace", since)
    if cursor is not None:
        click.echo(f"There are more: --limit {2 * limit}, or --cursor {cursor}", err=True)


@click.command()
@click.argument("query", default="{ }")
@click.option("--interval", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Seconds to wait.")
@json_option
@with_client
def tail(client: ApiClient, query: str, interval: float, as_json: bool) -> None:
    """Show the traces that QUERY finds as they come, until Ctrl-C.

    A trace is shown when it has stopped growing, the oldest first.
    """
    out, table = _table()
    if not as_json:
        out.print(table.head())
    try:
        for trace in _coming(client, query, interval):
            if as_json:
                print_json(trace)
            else:
                out.print(table.line(trace))
    except KeyboardInterrupt:
        return


def _table() -> tuple[Any, Any]:
    from kai_tracing_backend.cli.tracetable import TraceTable

    out = console()
    return out, TraceTable(out.width)


def _coming(client: ApiClient, query: str, interval: float) -> Iterator[dict[str, Any]]:
    """Traces that have not been seen, each once."""
    began = time.time()
    seen: OrderedDict[str, None] = OrderedDict()
    waiting: dict[str, tuple[int, float]] = {}
    while True:
        now = time.time()
        start = int(max(began, now - _LOOK_BACK) * 1e9)
        page = client.get(_PATH, q=query, start=str(start), limit=_PAGE)
        for trace in reversed(page["traces"]):
            number = trace["traceId"]
            if number in seen:
                continue
            spans, since = waiting.get(number, (0, now))
            if trace["spans"] == spans or now - since > _SETTLED:
                seen[number] = None
                waiting.pop(number, None)
                yield trace
            else:
                waiting[number] = (trace["spans"], since)
        while len(seen) > _REMEMBERED:
            seen.popitem(last=False)
        time.sleep(interval)
