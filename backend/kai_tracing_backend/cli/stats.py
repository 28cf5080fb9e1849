"""`kai-tracing stats`: what the backend has, and what it has been doing since it was started."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from kai_tracing_backend.cli.client import with_client
from kai_tracing_backend.cli.output import console, json_option, print_json

if TYPE_CHECKING:
    from kai_tracing_backend.cli.client import ApiClient

__all__ = ["stats"]

_PREFIX = "kai_tracing_backend_"
_RECEIVERS = {
    "requests_total": "requests",
    "request_bytes_total": "bytes",
    "received_spans_total": "spans",
    "rejected_spans_total": "rejected",
}
"""Counters with a receiver, and what they are called here."""
_PROCESS = {
    "stored_spans_total": "stored",
    "duplicate_spans_total": "duplicates",
    "queue_spans": "waiting",
    "queue_bytes": "waitingBytes",
    "store_bytes": "storeBytes",
    "denied_requests_total": "denied",
}


@click.command()
@json_option
@with_client
def stats(client: ApiClient, as_json: bool) -> None:
    """Show what the store has, and what receivers and queue have done since the start."""
    store = client.get("/api/v1/stats")
    try:
        process = _process(client.request("GET", "/metrics").text)
    except click.ClickException as error:
        process = {}
        click.echo(f"The process's own numbers are left out: {error.message}", err=True)
    if as_json:
        print_json({"store": store, **process})
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    days = store["days"]
    facts = {
        "version": store["version"],
        "tenant": store["tenant"],
        "days": f"{len(days)}, {days[-1]} to {days[0]}" if days else "none yet",
        "services": f"{store['services']:,}",
        "spans of the last day": f"{store['spansLastDay']:,}, {store['errorsLastDay']:,} of them errors",
        **_facts(process),
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in facts.items():
        table.add_row(Text(name, "dim"), Text(value))
    out = console()
    out.print(table)
    if process:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("receiver")
        for name in _RECEIVERS.values():
            table.add_column(name, justify="right")
        for receiver, numbers in sorted(process["receivers"].items()):
            table.add_row(receiver, *(f"{numbers.get(name, 0):,.0f}" for name in _RECEIVERS.values()))
        out.print(table)


def _facts(process: Mapping[str, Any]) -> dict[str, str]:
    if not process:
        return {}
    megabytes = process["storeBytes"] / 1e6
    return {
        "store on disk": f"{megabytes:,.1f} MB",
        "waiting to be written": f"{process['waiting']:,.0f} spans, {process['waitingBytes'] / 1e6:,.1f} MB",
        "since the start": f"{process['stored']:,.0f} spans stored, {process['duplicates']:,.0f} were there already, "
        f"{process['denied']:,.0f} requests without leave",
    }


def _process(text: str) -> dict[str, Any]:
    """The numbers in Prometheus' text, those of all tenants together."""
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, Any] = dict.fromkeys(_PROCESS.values(), 0.0)
    receivers: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix(_PREFIX)
            if name in _PROCESS:
                found[_PROCESS[name]] += sample.value
            elif name in _RECEIVERS:
                receivers[sample.labels["receiver"]][_RECEIVERS[name]] += sample.value
    return {**found, "receivers": receivers}
