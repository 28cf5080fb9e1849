"""`kai-tracing retention`, `pins` and `archive`: what is kept, what goes, and what comes back."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click

from kai_tracing_backend.cli.client import with_client
from kai_tracing_backend.cli.output import clean, console, json_option, print_json

if TYPE_CHECKING:
    from kai_tracing_backend.cli.client import ApiClient

__all__ = ["archive", "pins", "retention"]

_POLL = 0.3  # seconds


@click.group()
def retention() -> None:
    """What is kept how long."""


@retention.command()
@json_option
@with_client
def policy(client: ApiClient, as_json: bool) -> None:
    """Show the policy that holds."""
    document = client.get("/api/v1/retention/policy")
    if as_json:
        print_json(document)
        return
    click.echo(f"# {document['source']}")
    click.echo(document["text"].rstrip())
    if document["error"]:
        raise click.ClickException(f"this is the last good policy; its file is wrong now: {document['error']}")


@retention.command()
@json_option
@with_client
def plan(client: ApiClient, as_json: bool) -> None:
    """Show what would be dropped now, and what that frees. Nothing is dropped by this."""
    document = client.post("/api/v1/retention/plan")
    if as_json:
        print_json(document)
        return
    _show_plan(document)
    if document["days"]:
        click.echo(f"kai-tracing retention apply --plan {document['id']} drops it.")


@retention.command()
@click.option("--plan", "plan_id", help="The plan to carry out, as `plan` named it; else a new one, after a question.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@with_client
def apply(client: ApiClient, plan_id: str | None, yes: bool, as_json: bool) -> None:
    """Drop what a plan said, and wait for it. Days that have changed since are left alone."""
    if plan_id is None:
        document = client.post("/api/v1/retention/plan")
        if not as_json:
            _show_plan(document)
        if not document["days"]:
            if as_json:
                print_json(None)
            return
        if not yes:
            click.confirm("Drop this for good?", abort=True, err=True)
        plan_id = document["id"]
    sweep = _wait(client, client.post("/api/v1/retention/apply", {"plan": plan_id}), quiet=as_json)
    if as_json:
        print_json(sweep)
    else:
        click.echo(f"{sweep['traces']} traces, {sweep['spans']} spans dropped, {_size(sweep['bytes'])} freed.")
        if sweep["changed"]:
            click.echo(f"Not as planned any more, and left alone: {', '.join(sweep['changed'])}. Plan again.")
    if sweep["error"]:
        raise click.ClickException(sweep["error"])


@retention.command()
@json_option
@with_client
def status(client: ApiClient, as_json: bool) -> None:
    """Show the last sweep, and when the next one begins."""
    document = client.get("/api/v1/retention/status")
    if as_json:
        print_json(document)
        return
    sweep = document["sweep"]
    click.echo(f"store       {_size(document['bytes'])}")
    click.echo(f"next sweep  {_moment(document['nextSweep']) or 'none by schedule'}")
    for held in document["held"]:
        click.echo(f"held        {held['day']} until {_moment(held['until'])}")
    if sweep is not None:
        state = f"ended {_moment(sweep['ended'])}" if sweep["ended"] else f"{sweep['daysDone']} of {sweep['days']} days"
        click.echo(
            f"last sweep  began {_moment(sweep['started'])}, {state}: {sweep['traces']} traces, "
            f"{sweep['spans']} spans, {_size(sweep['bytes'])} freed"
        )
        if sweep["error"]:
            raise click.ClickException(sweep["error"])


def _show_plan(document: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title="Due now", title_justify="left")
    table.add_column("rule")
    for name in ("traces", "spans", "frees about", "oldest", "newest"):
        table.add_column(name, justify="right")
    for rule in document["rules"]:
        table.add_row(
            clean(rule["rule"]),
            f"{rule['traces']:,}",
            f"{rule['spans']:,}",
            _size(rule["bytes"]),
            _moment(rule["oldest"]),
            _moment(rule["newest"]),
        )
    out = console()
    out.print(table)
    for day in document["days"]:
        what = "the whole day" if day["whole"] else f"{day['spans']:,} of {day['ofSpans']:,} spans"
        out.print(f"  {day['day']}  {what}")
    out.print(f"About {_size(document['bytes'])} in all." if document["days"] else "Nothing is due.")


def _wait(client: ApiClient, sweep: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("dropping", total=max(1, sweep["days"]))
        plan_id = sweep["plan"]
        while not sweep["ended"]:
            time.sleep(_POLL)
            sweep = client.get("/api/v1/retention/status")["sweep"]
            if sweep is None or sweep["plan"] != plan_id:
                raise click.ClickException("another sweep has begun since; `retention status` says what it did")
            progress.update(task, completed=sweep["daysDone"])
    return sweep


# -- pins --------------------------------------------------------------------------------------------------------------


@click.group()
def pins() -> None:
    """Traces that stay whatever the policy says."""


@pins.command("list")
@json_option
@with_client
def list_pins(client: ApiClient, as_json: bool) -> None:
    """List the traces that are pinned."""
    document = client.get("/api/v1/pins")
    if as_json:
        print_json(document)
        return
    for pin in document["pins"]:
        until = f" until {_moment(pin['until'])}" if pin["until"] else ""
        click.echo(f"{pin['traceId']}  {_moment(pin['created'])}{until}  {clean(pin['note'])}")


@pins.command("add")
@click.argument("trace_id", metavar="TRACE")
@click.option("--note", default="", help="Why.")
@with_client
def add_pin(client: ApiClient, trace_id: str, note: str) -> None:
    """Keep a trace until it is unpinned."""
    client.post("/api/v1/pins", {"trace_id": trace_id, "note": note})


@pins.command("remove")
@click.argument("trace_id", metavar="TRACE")
@with_client
def remove_pin(client: ApiClient, trace_id: str) -> None:
    """Let the policy have a trace again."""
    client.delete(f"/api/v1/pins/{trace_id}")


# -- archive -----------------------------------------------------------------------------------------------------------


@click.group()
def archive() -> None:
    """What was written to Parquet before it was dropped."""


@archive.command("list")
@json_option
@with_client
def list_archive(client: ApiClient, as_json: bool) -> None:
    """List the days that are in the archive."""
    document = client.get("/api/v1/archive")
    if as_json:
        print_json(document)
        return
    click.echo(f"# {document['folder']}")
    for day in document["days"]:
        click.echo(f"{day['day']}  {day['traces']:>10,} traces  {day['spans']:>12,} spans  {_size(day['bytes']):>10}")


@archive.command("query")
@click.argument("query", metavar="QUERY")
@click.option("--day", "days", multiple=True, type=click.DateTime(["%Y-%m-%d"]), help="A day to ask; all by default.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="Traces at most.")
@json_option
@with_client
def query_archive(client: ApiClient, query: str, days: tuple[datetime, ...], limit: int, as_json: bool) -> None:
    """Find traces in the archive with a query such as '{ status = error }'."""
    chosen = [day.date().isoformat() for day in days] or None
    document = client.get("/api/v1/archive/search", q=query, day=chosen, limit=limit)
    if as_json:
        print_json(document)
        return
    for found in document["traces"]:
        began = _moment(found["startTimeUnixNano"])
        click.echo(f"{found['traceId']}  {began}  {clean(found['service'])}  {clean(found['name'])}")


@archive.command("restore")
@click.argument("what", metavar="DAY|TRACE")
@click.option("--keep", default="7d", show_default=True, help="How long no sweep takes it: 12h, 7d, 2w.")
@with_client
def restore_archive(client: ApiClient, what: str, keep: str) -> None:
    """Bring a day (2026-11-24) or a trace back into the store."""
    kind = "day" if "-" in what else "trace_id"
    document = client.post("/api/v1/archive/restore", {kind: what, "keep": keep})
    click.echo(f"{document['restored']} of {document['spans']} spans restored; the others are there already.")


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1_000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1_000
    return f"{count:.1f} TB"


def _moment(nanoseconds: str | None) -> str:
    if nanoseconds is None:
        return ""
    return datetime.fromtimestamp(int(nanoseconds) / 1e9, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")
