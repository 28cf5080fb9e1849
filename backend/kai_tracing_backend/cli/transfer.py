"""`kai-tracing import` and `export`: traces from files and to files."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kai_tracing_backend.cli.client import with_client
from kai_tracing_backend.cli.output import json_option, print_json
from kai_tracing_backend.cli.windows import window_options

if TYPE_CHECKING:
    from kai_tracing_backend.cli.client import ApiClient

__all__ = ["export", "import_files"]

_ID = re.compile("[0-9a-fA-F]{8,32}")


@click.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--format", "kind", type=click.Choice(["otlp", "zipkin", "jaeger"]), help="Told by the content by default."
)
@click.option("--shift-to-now", is_flag=True, help="Move all times so that the newest span of a file ends now.")
@click.option("--keep", default="7d", show_default=True, help="How long no sweep takes old traces: 12h, 7d.")
@json_option
@with_client
def import_files(
    client: ApiClient, files: tuple[Path, ...], kind: str | None, shift_to_now: bool, keep: str, as_json: bool
) -> None:
    """Store the traces of files: OTLP (JSON, JSON Lines, protobuf), Zipkin v2 JSON or Jaeger JSON; plain or .gz."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from kai_tracing_backend.cli.files import parts_of

    total = {"accepted": 0, "rejected": 0}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=as_json,
    ) as progress:
        for path in files:
            task = progress.add_task(path.name, total=None)
            counts = {"accepted": 0, "rejected": 0}
            for part, size, line in parts_of(path, shift_to_now=shift_to_now):
                progress.update(task, total=size)
                answer = _send(client, path, line, part, {"format": kind, "keep": keep})
                progress.advance(task, len(part))
                for name in counts:
                    counts[name] += answer[name]
                if answer["rejected"]:
                    where = f"{path}, from line {line}" if line else str(path)
                    click.echo(f"{where}: {answer['rejected']} spans rejected: {answer['message']}", err=True)
            if not as_json:
                click.echo(f"{path}: {counts['accepted']} spans" + _rejected(counts["rejected"]))
            for name in total:
                total[name] += counts[name]
    if as_json:
        print_json(total)


def _send(client: ApiClient, path: Path, line: int, part: bytes, parameters: dict[str, Any]) -> Any:
    try:
        return client.request("POST", "/api/v1/import", parameters, content=part).json()
    except click.ClickException as error:
        if error.message.startswith("keep:"):
            raise  # the file has nothing to do with it
        at = re.sub(r"^file: (line (\d+): )?", "", error.message)
        found = re.match(r"file: line (\d+)", error.message)
        number = line + int(found[1]) - 1 if found and line else line or (int(found[1]) if found else 0)
        where = f"{path}, line {number}" if number else str(path)
        raise click.ClickException(f"{where}: {at}") from error


def _rejected(count: int) -> str:
    return f", {count} rejected" if count else ""


@click.command()
@click.argument("what", metavar="TRACE|QUERY")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["otlp", "zipkin", "jaeger", "chrome", "html"]),
    help="By the name of the output by default, else otlp.",
)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File; else standard output.")
@window_options("1h")
@click.option("--limit", type=click.IntRange(1, 1_500), default=100, show_default=True, help="Traces at most.")
@with_client
def export(
    client: ApiClient,
    what: str,
    kind: str | None,
    output: Path | None,
    since: str,
    until: str | None,
    limit: int,
) -> None:
    """Write one trace, by its id, or what a query such as '{ status = error }' finds, to a file."""
    chosen = kind or _by_name(output)
    if _ID.fullmatch(what):
        path = f"/api/v1/traces/{what.lower()}/export"
        parameters: dict[str, Any] = {"format": chosen}
    else:
        path = "/api/v1/export"
        parameters = {"format": chosen, "q": what, "start": since, "end": until, "limit": str(limit)}
    with client.stream("GET", path, parameters) as response:
        if "X-No-Traces" in response.headers:
            click.echo(f"no traces from {since} to {until or 'now'}; --since asks for older ones", err=True)
        if output is None:
            for piece in response.iter_bytes():
                sys.stdout.buffer.write(piece)
            return
        temporary = output.with_name(f"{output.name}.part")
        with temporary.open("wb") as file:
            for piece in response.iter_bytes():
                file.write(piece)
        temporary.replace(output)


def _by_name(output: Path | None) -> str:
    name = output.name if output is not None else ""
    if name.endswith((".html", ".htm")):
        return "html"
    return next((kind for kind in ("zipkin", "jaeger", "chrome") if f"{kind}.json" in name), "otlp")
