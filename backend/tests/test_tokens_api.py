"""`/api/v1/tokens`: made, listed and revoked by who may, for one's own tenant; and the commands over it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from kai_tracing_backend.access.tokens import Limits, Scope, TokenFile
from kai_tracing_backend.app import Backend
from kai_tracing_backend.cli.tokens import tokens as command

from tests.support.backend import Answer, ask, running

PATH = "/api/v1/tokens"


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    """The backend's tokens."""
    return TokenFile(tmp_path / "data" / "tokens.json")


@pytest.fixture
def admin(file: TokenFile) -> str:
    """A token that may make others, of the tenant `shop`."""
    return file.create("boss", [Scope.ADMIN], tenant="shop")[1]


@pytest.fixture
def backend(tmp_path: Path, admin: str) -> Iterator[Backend]:
    """A backend that wants tokens."""
    with running(tmp_path) as made:
        yield made


def call(backend: Backend, token: str, path: str = PATH, method: str = "GET", **document: Any) -> Answer:
    """A request with a token."""
    body = json.dumps(document).encode() if method == "POST" else None
    return ask(backend.settings.api_port, path, body, method=method, Authorization=f"Bearer {token}")


def names(backend: Backend, token: str) -> list[str]:
    """The names that are listed."""
    return [one["name"] for one in call(backend, token).json["tokens"]]


def test_a_token_holds_at_once_and_is_shown_once(backend: Backend, admin: str, file: TokenFile) -> None:
    """201 with the text; the list and the file do not have it; revoked it is refused at once."""
    later = (datetime.now(timezone.utc) + timedelta(days=9)).replace(microsecond=0)
    made = call(backend, admin, method="POST", name="reader", scopes=["query", "ingest"], expires=later.isoformat())
    assert (made.status, made.headers["Cache-Control"]) == (201, "no-store")
    text = made.json["token"]
    assert made.json["scopes"] == ["ingest", "query"]
    assert made.json["tenant"] == "shop"
    assert call(backend, text, "/api/v1/stats").status == 200
    listed = call(backend, admin)
    assert text.encode() not in listed.body
    assert text not in file.path.read_text()
    (found,) = (one for one in listed.json["tokens"] if one["name"] == "reader")
    assert datetime.fromisoformat(found["expires"].replace("Z", "+00:00")) == later
    assert found["lastUsed"] == datetime.now(timezone.utc).date().isoformat()
    assert call(backend, admin, f"{PATH}/{found['id']}", "DELETE").json == {"revoked": found["id"]}
    assert call(backend, text, "/api/v1/stats").status == 401
    assert names(backend, admin) == ["boss"]


def test_nobody_but_who_may_do_everything(backend: Backend, file: TokenFile) -> None:
    """403 for every other scope, to see as to change."""
    _, other = file.create("others", set(Scope) - {Scope.ADMIN}, tenant="shop")
    backend._issuer._guard.look()
    for method, path in (("GET", PATH), ("POST", PATH), ("DELETE", f"{PATH}/boss")):
        assert call(backend, other, path, method, name="x", scopes=["query"]).status == 403


def test_another_tenant_s_tokens_are_out_of_reach(backend: Backend, admin: str, file: TokenFile) -> None:
    """Neither listed nor revoked, by name or id; its names are free."""
    theirs, _ = file.create("sender", [Scope.INGEST], tenant="else")
    for which in ("sender", theirs.id):
        assert call(backend, admin, f"{PATH}/{which}", "DELETE").status == 404
    assert call(backend, admin, method="POST", name="sender", scopes=["ingest"]).status == 201
    assert names(backend, admin) == ["boss", "sender"]
    assert theirs in file.read()


def test_nobody_gives_what_he_does_not_have(backend: Backend, file: TokenFile) -> None:
    """`metrics`, which are all tenants', and more than one's own limits; where none are asked for, one's own hold."""
    _, limited = file.create("limited", [Scope.ADMIN], tenant="shop", limits=Limits(max_body=1_000))
    backend._issuer._guard.look()
    assert call(backend, limited, method="POST", name="a", scopes=["metrics"]).status == 403
    more = call(backend, limited, method="POST", name="a", scopes=["ingest"], limits={"maxBody": 1_001})
    assert (more.status, more.json["error"]) == (403, "max_body: 1001 is more than your own 1000")
    limits = {"maxBody": None, "requestsPerSecond": 2.5}
    made = call(backend, limited, method="POST", name="a", scopes=["ingest"], limits=limits).json
    assert made["limits"] == {"maxBody": 1_000, "requestsPerSecond": 2.5, "bytesPerSecond": None}


@pytest.mark.parametrize(
    ("document", "status", "parameter"),
    [
        ({"name": "boss", "scopes": ["query"]}, 409, "name"),
        ({"name": "", "scopes": ["query"]}, 400, "name"),
        ({"name": "a", "scopes": []}, 400, "scopes"),
        ({"name": "a", "scopes": ["root"]}, 400, "scopes.0"),
        ({"name": "a", "scopes": ["query"], "expires": "2020-01-01T00:00:00Z"}, 400, "expires"),
        ({"name": "a", "scopes": ["query"], "tenant": "else"}, 400, "tenant"),
        ({"name": "a", "scopes": ["query"], "limits": {"maxBody": 0}}, 400, "limits.maxBody"),
    ],
)
def test_mistakes_are_told(backend: Backend, admin: str, document: dict[str, Any], status: int, parameter: str) -> None:
    """With the field; a tenant cannot be chosen."""
    answer = call(backend, admin, method="POST", **document)
    assert (answer.status, answer.json["parameter"]) == (status, parameter)


def test_the_first_token_is_made_on_the_machine(tmp_path: Path) -> None:
    """Else whoever reaches an open backend could lock its owner out."""
    with running(tmp_path) as backend:
        answer = call(backend, "", method="POST", name="a", scopes=["admin"])
        assert answer.status == 403
        assert "kai-tracing tokens create" in answer.json["error"]
        assert call(backend, "").json == {"tokens": [], "cursor": None}


def run(backend: Backend, token: str, *arguments: str, status: int = 0) -> str:
    """What the command prints, which asks the backend."""
    place = ["--url", f"http://127.0.0.1:{backend.settings.api_port}", "--token", token]
    result = CliRunner().invoke(command, [*place, *arguments], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.output


def test_the_commands_over_the_api(backend: Backend, admin: str) -> None:
    """Made, listed and revoked as in the file, from anywhere."""
    limit = ["--max-body", "1000", "--expires", "9d"]
    made = json.loads(run(backend, admin, "create", "far", "--scope", "ingest", *limit, "--json"))
    assert (made["name"], made["limits"]) == ("far", {"max_body": 1_000})
    text = run(backend, admin, "create", "near", "--scope", "query")
    assert text.startswith("kt_")
    table = run(backend, admin, "list")
    assert "far" in table
    assert "max_body 1000" in table
    assert made["id"] in run(backend, admin, "revoke", "far")
    assert "there is no token 'far'" in run(backend, admin, "revoke", "far", status=1)
    assert "--tenant" in run(backend, admin, "create", "a", "--scope", "query", "--tenant", "else", status=2)
    assert {json.loads(line)["name"] for line in run(backend, admin, "list", "--json").splitlines()} == {"boss", "near"}
