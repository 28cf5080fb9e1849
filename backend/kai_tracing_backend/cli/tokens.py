"""`kai-tracing tokens`: makes, lists and revokes tokens, in the file that the backend follows."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kai_tracing_backend.cli.durations import duration
from kai_tracing_backend.cli.output import clean, console, json_option, print_json

if TYPE_CHECKING:
    from kai_tracing_backend.access.tokens import Token, TokenFile
    from kai_tracing_backend.settings import BackendSettings

__all__ = ["tokens"]

_SCOPES = ("ingest", "query", "admin", "metrics")


@click.group()
@click.option("--data", type=click.Path(path_type=Path), help="The backend's folder.  [TRACING_BACKEND_DATA]")
@click.option("--access-file", type=click.Path(path_type=Path), help="File of the tokens, where it is elsewhere.")
@click.pass_context
def tokens(context: click.Context, data: Path | None, access_file: Path | None) -> None:
    """Tokens that senders and readers need, once there is one.

    They are in a file of this machine, of which a running backend notices changes within a second.
    """
    context.obj = {"data": data, "access_file": access_file}


@tokens.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", type=click.Choice(_SCOPES), multiple=True, required=True, help="What it is for; repeatable."
)
@click.option("--tenant", default="default", show_default=True, help="Whose traces.")
@click.option("--expires", type=duration, help="How long it holds, such as 90d; for ever unless given.")
@click.option("--requests-per-second", type=click.FloatRange(min=0, min_open=True), help="How often it may be used.")
@click.option("--bytes-per-second", type=click.IntRange(min=1), help="How much it may send.")
@click.option("--max-body", type=click.IntRange(min=1), help="Bytes of a request at most.")
@json_option
@click.pass_obj
def create(
    place: dict[str, Any],
    /,
    name: str,
    scopes: tuple[str, ...],
    tenant: str,
    expires: int | None,
    as_json: bool,
    **limits: Any,
) -> None:
    """Make the token NAME and show it, this once."""
    from kai_tracing_backend.access.tokens import Limits, Scope, TokenFileError

    file = _file(_settings(place))
    until = datetime.now(timezone.utc) + timedelta(microseconds=expires // 1000) if expires else None
    try:
        token, text = file.create(
            name, [Scope(scope) for scope in scopes], tenant=tenant, expires=until, limits=Limits(**limits)
        )
    except TokenFileError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        print_json({**_document(token, None), "token": text})
        return
    click.echo(text)
    click.echo(f"Keep it now: {file.path} has only its hash. Send it as `Authorization: Bearer …`.", err=True)


@tokens.command("list")
@json_option
@click.pass_obj
def list_(place: dict[str, Any], /, as_json: bool) -> None:
    """Show all tokens, what they are for and when they were used last."""
    from kai_tracing_backend.access.guard import read_used
    from kai_tracing_backend.access.tokens import TokenFileError

    settings = _settings(place)
    used = read_used(settings.used_file)
    try:
        found = _file(settings).read()
    except TokenFileError as error:
        raise click.ClickException(str(error)) from error
    documents = [_document(token, used.get(token.id)) for token in found]
    if as_json:
        for document in documents:
            print_json(document)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("id", "name", "tenant", "scopes", "created", "expires", "last used", "limits"):
        table.add_column(column, overflow="fold")
    now = datetime.now(timezone.utc)
    for token, document in zip(found, documents, strict=True):
        cells = [document["id"], token.name, token.tenant, ", ".join(document["scopes"])]
        cells += [str(document[name] or "")[:10] for name in ("created", "expires", "last_used")]
        cells.append(", ".join(f"{name} {value:g}" for name, value in document["limits"].items()))
        table.add_row(*(Text(clean(cell)) for cell in cells), style="dim" if token.expired(now) else None)
    console().print(table)


@tokens.command()
@click.argument("token")
@click.pass_obj
def revoke(place: dict[str, Any], /, token: str) -> None:
    """Take the TOKEN of this id or name away; a running backend refuses it within a second."""
    from kai_tracing_backend.access.tokens import TokenFileError

    try:
        revoked = _file(_settings(place)).revoke(token)
    except TokenFileError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{revoked.id} ({clean(revoked.name)}) holds no longer.")


def _settings(place: dict[str, Any]) -> BackendSettings:
    from kai_tracing_backend.settings import BackendSettings

    return BackendSettings(**{name: value for name, value in place.items() if value is not None})


def _file(settings: BackendSettings) -> TokenFile:
    from kai_tracing_backend.access.tokens import TokenFile

    return TokenFile(settings.token_file)


def _document(token: Token, used: str | None) -> dict[str, Any]:
    document = token.model_dump(mode="json", exclude={"hash"})
    document["scopes"].sort()
    document["limits"] = {name: value for name, value in document["limits"].items() if value is not None}
    return {**document, "last_used": used}
