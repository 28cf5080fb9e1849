"""The API's page for people: whole, escaped, and without anything from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from kai_tracing_backend.access.tokens import Scope, TokenFile
from kai_tracing_backend.api.app import api_app
from kai_tracing_backend.api.reference import page
from kai_tracing_backend.app import Backend

from tests.support.backend import ask, running

VOID = {"meta", "br"}


class Read(HTMLParser):
    """What a page has: its anchors, what it links to, its tags; every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("path", ["/", "/api/v1/docs"])
def test_it_needs_nothing_from_elsewhere(shared: Backend, path: str) -> None:
    """No script, no address of another host, and a policy that would let nothing of it be loaded."""
    answer = ask(shared.settings.api_port, path)
    text = answer.body.decode()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert not re.search(r"https?:|//|@import|url\(|<script|<link", text)
    read = Read(text)
    assert read.tags.isdisjoint({"script", "link", "img", "iframe", "object"})
    for link in read.links:
        if not link.startswith("#"):
            found = ask(shared.settings.api_port, f"/{link}" if path == "/" else f"/api/v1/{link}")
            assert found.status == 200, link


def test_every_operation_and_model_is_there() -> None:
    """And every link within the page leads somewhere, to one place alone."""
    document = api_app().openapi()
    text = page(document)
    read = Read(text)
    assert len(set(read.ids)) == len(read.ids)
    assert {link[1:] for link in read.links if link.startswith("#")} <= set(read.ids)
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"<b>{method.upper()}</b> {path}</h3>" in text
    for model in document["components"]["schemas"]:
        assert f"<h3>{model}</h3>" in text


def test_whatever_a_document_says_is_text() -> None:
    """Names, descriptions, examples and schemas of a hostile document make no markup."""
    bad = "<img src=x onerror=alert(1)>\"'&"
    schema = {"type": bad, "pattern": bad, "default": bad, "examples": [bad], "enum": [bad], "description": bad}
    operation = {
        "tags": [bad],
        "description": f"`{bad}`",
        "parameters": [{"name": bad, "in": bad, "required": True, "schema": schema, "description": bad}],
        "requestBody": {"content": {bad: {"schema": {"$ref": bad}}}},
        "responses": {bad: {"description": bad, "content": {bad: {}}}},
    }
    document = {
        "info": {"title": bad, "version": bad, "summary": bad},
        "paths": {bad: {"get": operation}},
        "components": {"schemas": {bad: {"description": bad, "properties": {bad: {**schema, "format": bad}}}}},
    }
    read = Read(page(document))
    assert read.tags <= {"div", "nav", "main", "section", "table", "tr", "td", "a", "b", "p", "em", "code", "small"} | {
        f"h{n}" for n in range(1, 5)
    }
    assert all(re.fullmatch(r"#[\w-]*|openapi\.json", link) for link in read.links)


def test_it_can_be_read_without_a_token(tmp_path: Path) -> None:
    """A browser has none to send, and the page says nothing of anybody's traces."""
    TokenFile(tmp_path / "data" / "tokens.json").create("x", [Scope.QUERY])
    with running(tmp_path) as backend:
        for path in ("/", "/api/v1/docs", "/api/v1/openapi.json"):
            assert ask(backend.settings.api_port, path).status == 200
        assert ask(backend.settings.api_port, "/api/v1/services").status == 401
