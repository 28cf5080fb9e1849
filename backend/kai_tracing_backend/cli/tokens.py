"""`kai-tracing tokens`: makes, lists and revokes tokens, in the file that the backend follows or over its API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from kai_tracing_backend.cli.client import ApiClient, trust_options
from kai_tracing_backend.cli.durations import duration
from kai_tracing_backend.cli.output import clean, console, json_option, print_json

if TYPE_CHECKING:
    from kai_tracing_backend.access.tokens import TokenFile
    from kai_tracing_backend.settings import BackendSettings

__all__ = ["tokens"]

_SCOPES = ("ingest", "query", "admin", "metrics")
_PATH = "/api/v1/tokens"

Document = dict[str, Any]
"""A token as `--json` writes it."""


class _Place(Protocol):
    """Where the tokens are."""

    def create(self, asked: Document) -> Document:
        """Make one; its text is `token` in the answer."""

    def list(self) -> list[Document]:
        """All of them."""

    def revoke(self, which: str) -> Document:
        """Take one away; its `id` and, where it is known, its `name`."""


class _File:
    """In a file of this machine."""

    def __init__(self, places: Document) -> None:
        self._places = {name: value for name, value in places.items() if value is not None}

    def create(self, asked: Document) -> Document:
        from kai_tracing_backend.access.tokens import Limits, Scope

        with self._explaining() as (file, _):
            token, text = file.create(
                asked["name"],
                [Scope(scope) for scope in asked["scopes"]],
                tenant=asked["tenant"] or "default",
                expires=asked["expires"],
                limits=Limits(**asked["limits"]),
            )
            return {**_tidy(token.model_dump(mode="json", exclude={"hash"})), "last_used": None, "token": text}

    def list(self) -> list[Document]:
        from kai_tracing_backend.access.guard import read_used

        with self._explaining() as (file, settings):
            used = read_used(settings.used_file)
            found = (token.model_dump(mode="json", exclude={"hash"}) for token in file.read())
            return [{**_tidy(document), "last_used": used.get(document["id"])} for document in found]

    def revoke(self, which: str) -> Document:
        with self._explaining() as (file, _):
            revoked = file.revoke(which)
            return {"id": revoked.id, "name": revoked.name}

    @contextmanager
    def _explaining(self) -> Iterator[tuple[TokenFile, BackendSettings]]:
        from kai_tracing_backend.access.tokens import TokenFile, TokenFileError
        from kai_tracing_backend.settings import BackendSettings

        settings = BackendSettings(**self._places)
        try:
            yield TokenFile(settings.token_file), settings
        except TokenFileError as error:
            raise click.ClickException(str(error)) from error


class _Api:
    """Of a running backend, whoever runs it: those of the tenant that `client` has a token of."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def create(self, asked: Document) -> Document:
        if asked["tenant"] is not None:
            raise click.UsageError("over the API a token is of the tenant of the one that asks: leave --tenant out")
        limits = {name: value for name, value in asked["limits"].items() if value is not None}
        expires = asked["expires"].isoformat() if asked["expires"] else None
        document = {"name": asked["name"], "scopes": asked["scopes"], "limits": limits, "expires": expires}
        return _read(self._client.post(_PATH, document))

    def list(self) -> list[Document]:
        found, cursor = [], None
        while True:
            answer = self._client.get(_PATH, limit=1_000, cursor=cursor)
            found += [_read(one) for one in answer["tokens"]]
            cursor = answer["cursor"]
            if cursor is None:
                return found

    def revoke(self, which: str) -> Document:
        from urllib.parse import quote

        return {"id": self._client.delete(f"{_PATH}/{quote(which, safe='')}")["revoked"], "name": which}


def _read(answer: Document) -> Document:
    """A token as the API answers it, in the names of the file."""
    limits = answer.pop("limits")
    names = {"requestsPerSecond": "requests_per_second", "bytesPerSecond": "bytes_per_second", "maxBody": "max_body"}
    document = {**answer, "limits": {name: limits[theirs] for theirs, name in names.items()}}
    document["last_used"] = document.pop("lastUsed")
    return _tidy(document)


def _tidy(document: Document) -> Document:
    """Scopes in order, and only limits that there are."""
    limits = {name: value for name, value in document["limits"].items() if value is not None}
    return {**document, "scopes": sorted(document["scopes"]), "limits": limits}


@click.group()
@click.option("--data", type=click.Path(path_type=Path), help="The backend's folder.  [TRACING_BACKEND_DATA]")
@click.option("--access-file", type=click.Path(path_type=Path), help="File of the tokens, where it is elsewhere.")
@click.option("--url", help="A running backend's API, to use instead of the file; with an `admin` token.")
@trust_options
@click.pass_context
def tokens(
    context: click.Context,
    data: Path | None,
    access_file: Path | None,
    url: str | None,
    token: str | None,
    ca: Path | None,
) -> None:
    """Tokens that senders and readers need, once there is one.

    They are in a file of this machine, of which a running backend notices changes within a second. With --url it is
    asked instead, for the tokens of one's own tenant.
    """
    if url is None:
        context.obj = _File({"data": data, "access_file": access_file})
    else:
        context.obj = _Api(context.with_resource(ApiClient(url, token, ca=ca)))


@tokens.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", type=click.Choice(_SCOPES), multiple=True, required=True, help="What it is for; repeatable."
)
@click.option("--tenant", help="Whose traces, `default` unless given; with --url one's own.")
@click.option("--expires", type=duration, help="How long it holds, such as 90d; for ever unless given.")
@click.option("--requests-per-second", type=click.FloatRange(min=0, min_open=True), help="How often it may be used.")
@click.option("--bytes-per-second", type=click.IntRange(min=1), help="How much it may send.")
@click.option("--max-body", type=click.IntRange(min=1), help="Bytes of a request at most.")
@json_option
@click.pass_obj
def create(
    place: _Place,
    /,
    name: str,
    scopes: tuple[str, ...],
    tenant: str | None,
    expires: int | None,
    as_json: bool,
    **limits: Any,
) -> None:
    """Make the token NAME and show it, this once."""
    until = datetime.now(timezone.utc) + timedelta(microseconds=expires // 1000) if expires else None
    made = place.create({"name": name, "scopes": scopes, "tenant": tenant, "expires": until, "limits": limits})
    if as_json:
        print_json(made)
        return
    click.echo(made["token"])
    click.echo("Keep it now: only its hash is kept. Send it as `Authorization: Bearer …`.", err=True)


@tokens.command("list")
@json_option
@click.pass_obj
def list_(place: _Place, /, as_json: bool) -> None:
    """Show all tokens, what they are for and when they were used last."""
    documents = place.list()
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
    for document in documents:
        cells = [document["id"], document["name"], document["tenant"], ", ".join(document["scopes"])]
        cells += [str(document[name] or "")[:10] for name in ("created", "expires", "last_used")]
        cells.append(", ".join(f"{name} {value:g}" for name, value in document["limits"].items()))
        over = document["expires"] is not None and _moment(document["expires"]) <= now
        table.add_row(*(Text(clean(cell)) for cell in cells), style="dim" if over else None)
    console().print(table)


@tokens.command()
@click.argument("token")
@click.pass_obj
def revoke(place: _Place, /, token: str) -> None:
    """Take the TOKEN of this id or name away; a running backend refuses it within a second."""
    revoked = place.revoke(token)
    click.echo(f"{revoked['id']} ({clean(revoked['name'])}) holds no longer.")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
