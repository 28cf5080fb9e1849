"""The API as a page for people, made of its OpenAPI document: it loads nothing, so that it can be read offline."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

__all__ = ["page", "router"]

Document = Mapping[str, Any]

router = APIRouter(include_in_schema=False)

_STYLE = (files("kai_tracing_backend.api") / "reference.css").read_text("utf-8")
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_START = """<p>This is a trace backend. Its API: <a href="api/v1/docs">for people</a>,
<a href="api/v1/openapi.json">for machines</a> (OpenAPI). Interfaces of Zipkin, Jaeger and Tempo read from this address,
too.</p>
<p>In a terminal: <code>kai-tracing search</code>, <code>kai-tracing trace ID</code>,
<code>kai-tracing services</code>.</p>
"""
_UNTAGGED = "health"
_WORTH_SAYING = {
    "pattern": "matches",
    "minimum": "from",
    "maximum": "to",
    "minLength": "at least",
    "maxLength": "at most",
}


@router.get("/")
def start(request: Request) -> HTMLResponse:
    """Where to go from here."""
    title = escape(request.app.title)
    return _answer(title, f"<main><h1>{title} <small>{escape(request.app.version)}</small></h1>{_START}</main>")


@router.get("/api/v1/docs")
def docs(request: Request) -> HTMLResponse:
    """The page."""
    return _answer(f"{escape(request.app.title)}: API", page(request.app.openapi()))


def _answer(title: str, body: str) -> HTMLResponse:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">{_styled(title)}'
    return HTMLResponse(f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>', 200, _HEADERS)


def _styled(title: str) -> str:
    return f'<meta name="color-scheme" content="light dark"><title>{title}</title><style>{_STYLE}</style>'


def page(document: Document) -> str:
    """An OpenAPI document as the body of a page. Whatever it says is text there, never markup."""
    info, schemas = document["info"], document.get("components", {}).get("schemas", {})
    by_tag: dict[str, list[tuple[str, str, Document]]] = defaultdict(list)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            by_tag[(operation.get("tags") or [_UNTAGGED])[0]].append((method.upper(), path, operation))
    by_tag[_UNTAGGED] = by_tag.pop(_UNTAGGED, [])  # to the end
    links = "".join(f"<h2>{escape(tag)}</h2>{''.join(map(_link, found))}" for tag, found in by_tag.items())
    sections = "".join(f"<h2>{escape(tag)}</h2>{''.join(map(_operation, found))}" for tag, found in by_tag.items())
    models = "".join(_model(name, schemas[name]) for name in sorted(schemas))
    return (
        f'<div class="page"><nav>{links}<h2>more</h2><a href="#models">Models</a>'
        '<a href="openapi.json">OpenAPI</a></nav>'
        f"<main><h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
        f'{_prose(info.get("summary", ""))}{sections}<h2 id="models">Models</h2>{models}</main></div>'
    )


def _link(one: tuple[str, str, Document]) -> str:
    method, path, _ = one
    return f'<a href="#{_anchor(method, path)}">{method} {escape(path)}</a>'


def _operation(one: tuple[str, str, Document]) -> str:
    method, path, operation = one
    parameters = [
        (found["name"], found.get("required"), found["schema"], found.get("description", ""), found["in"])
        for found in operation.get("parameters", ())
    ]
    body = [_type(found.get("schema", {})) for found in operation.get("requestBody", {}).get("content", {}).values()]
    return (
        f'<section id="{_anchor(method, path)}"><h3><b>{method}</b> {escape(path)}</h3>'
        f"{_prose(operation.get('description', ''))}"
        + _table("Parameters", (_field(*found) for found in parameters))
        + _table("Body", ([each, "", ""] for each in body))
        + _table("Answers", (_response(*found) for found in sorted(operation["responses"].items())))
        + "</section>"
    )


def _model(name: str, schema: Document) -> str:
    required = schema.get("required", ())
    fields = [
        (field, field in required, of, of.get("description", ""), "")
        for field, of in schema.get("properties", {}).items()
    ]
    return (
        f'<section id="{_anchor("model", name)}"><h3>{escape(name)}</h3>{_prose(schema.get("description", ""))}'
        + _table("Fields", (_field(*found) for found in fields))
        + "</section>"
    )


def _field(name: str, required: bool, schema: Document, description: str, place: str) -> list[str]:
    notes = [place] if place not in ("", "query") else []
    notes += ["required"] if required else []
    for key, word in _WORTH_SAYING.items():
        notes += [f"{word} {found}" for found in _said(schema, key)]
    default = [f"default {schema['default']}"] if schema.get("default") not in (None, "", {}) else []
    example = [f"such as {schema['examples'][0]}"] if schema.get("examples", [None])[0] is not None else []
    note = f" <em>{escape('; '.join(notes + default + example))}</em>" if notes or default or example else ""
    return [f"<code>{escape(name)}</code>", _type(schema), _inline(description) + note]


def _said(schema: Document, key: str) -> Iterator[Any]:
    """What a schema, or one that it may be, says under a key."""
    for one in (schema, *schema.get("anyOf", ())):
        if key in one:
            yield one[key]


def _response(status: str, response: Document) -> list[str]:
    content = response.get("content", {})
    kinds = [_type(found["schema"]) if found.get("schema") else escape(kind) for kind, found in content.items()]
    return [f"<code>{escape(status)}</code>", " or ".join(dict.fromkeys(kinds)), _inline(response["description"])]


def _table(title: str, rows: Iterable[list[str]]) -> str:
    made = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<h4>{title}</h4><table>{made}</table>" if made else ""


def _type(schema: Document) -> str:
    """What a schema is, in a few words; models are links."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{_anchor("model", name)}">{escape(name)}</a>'
    for way in ("anyOf", "oneOf", "allOf"):
        if way in schema:
            return " or ".join(_type(one) for one in schema[way] if one.get("type") != "null") or "null"
    if "enum" in schema or "const" in schema:
        return " or ".join(f"<code>{escape(str(one))}</code>" for one in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return escape(schema.get("format") or schema.get("type") or "any")


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part.strip())


def _inline(text: str) -> str:
    """Text with `code` in it."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _anchor(*words: str) -> str:
    return re.sub(r"[^\w]+", "-", "-".join(words)).strip("-").lower()
