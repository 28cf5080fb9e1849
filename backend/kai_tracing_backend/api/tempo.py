"""A first slice of Tempo's query API (grafana/tempo, api_docs), which Grafana's Tempo data source reads.

Times are seconds, durations Go's. Traces come as protobuf to those that accept it, else as protobuf's JSON, whose ids
are in base64. Errors are plain text.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from google.protobuf.json_format import MessageToDict
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from kai_tracing_backend.api.errors import NotFoundError, Problem, answering
from kai_tracing_backend.api.parameters import ENDLESS, ParameterError, go_duration, number
from kai_tracing_backend.api.traces import MAX_TRACES, is_value, normal_id
from kai_tracing_backend.formats.otlp import attribute_list, traces_message
from kai_tracing_backend.formats.telling import telling
from kai_tracing_backend.language.building import all_of, compare
from kai_tracing_backend.language.errors import QueryError
from kai_tracing_backend.language.nodes import Condition, TraceQuery
from kai_tracing_backend.language.parser import parse, parse_condition
from kai_tracing_backend.language.vocabulary import ALIASES, INTRINSICS
from kai_tracing_backend.model import FoundTrace, MatchedSpan, SpanSet, StoredSpan
from kai_tracing_backend.tenants import tenant_of
from kai_tracing_backend.values import plain

__all__ = ["is_meant", "routes", "trace"]

_SECOND = 1_000_000_000
_HOUR = 3_600 * _SECOND
_PROTOBUF = "application/protobuf"
_MAX_SPANS_PER_SET = 100
_TYPES = {str: "string", int: "int", float: "float", bool: "bool"}
_MAX_NAMES = 10_000
_INTRINSICS = ("duration", "kind", "name", "rootName", "rootServiceName", "status", "statusMessage", "traceDuration")
_KEYWORDS: dict[str, tuple[str, ...]] = {
    "status": ("error", "ok", "unset"),
    "kind": ("client", "consumer", "internal", "producer", "server", "unspecified"),
}
_PAIR = re.compile(r'([^\s="]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))(?:\s+|$)')


def _refuse(problem: Problem) -> Response:
    return PlainTextResponse(problem.message, problem.status, problem.headers)


endpoint = answering(_refuse)


def is_meant(request: Request) -> bool:
    """Whether a request for `/api/traces/{id}`, a path of Jaeger's, too, is for Tempo: it accepts protobuf."""
    return _PROTOBUF in request.headers.get("accept", "")


def echo(request: Request) -> Response:
    """`/api/echo`: somebody is there."""
    return PlainTextResponse("echo")


def build_info(request: Request) -> Response:
    """`/api/status/buildinfo`: which version answers."""
    unknown = dict.fromkeys(("revision", "branch", "buildUser", "buildDate", "goVersion"), "")
    return JSONResponse({"version": version("kai-tracing-backend"), **unknown})


@endpoint
def trace(request: Request) -> Response:
    """`/api/traces/{id}`, in protobuf only: the spans of one trace."""
    return Response(traces_message(telling(_spans(request))).SerializeToString(), media_type=_PROTOBUF)


@endpoint
def trace_v2(request: Request) -> Response:
    """`/api/v2/traces/{id}`: the spans of one trace in a `TraceByIDResponse`."""
    message = traces_message(telling(_spans(request)))
    if is_meant(request):
        content = message.SerializeToString()
        return Response(b"\x0a" + _varint(len(content)) + content, media_type=_PROTOBUF)
    return JSONResponse({"trace": MessageToDict(message), "metrics": {}})


@endpoint
def search(request: Request) -> Response:
    """`/api/search`: by `q`, or by `tags` and durations."""
    start, end = _window(request)
    limit = _number(request, "limit", 20, 1, ENDLESS)
    spans = _number(request, "spss", 3, 0, ENDLESS)
    page = tenant_of(request).store.search(
        _query(request), start, end, limit=min(limit, MAX_TRACES), spans_per_set=min(spans, _MAX_SPANS_PER_SET)
    )
    return JSONResponse({"traces": [_found(one) for one in page.traces], "metrics": {}})


@endpoint
def tags(request: Request) -> Response:
    """`/api/search/tags`: the names of attributes."""
    return JSONResponse({"tagNames": sorted({key for _, key in _keys(request)}), "metrics": {}})


@endpoint
def tags_v2(request: Request) -> Response:
    """`/api/v2/search/tags`: the names of attributes by scope."""
    scopes: dict[str, set[str]] = {}
    for scope, key in _keys(request):
        scopes.setdefault(scope, set()).add(key)
    answer = [{"name": scope, "tags": sorted(keys)} for scope, keys in scopes.items()]
    return JSONResponse({"scopes": answer, "metrics": {}})


@endpoint
def tag_values(request: Request) -> Response:
    """`/api/search/tag/{tag}/values`: the values of an attribute as text."""
    return JSONResponse({"tagValues": [one["value"] for one in _values(request)], "metrics": {}})


@endpoint
def tag_values_v2(request: Request) -> Response:
    """`/api/v2/search/tag/{tag}/values`: the values of an attribute with their types."""
    return JSONResponse({"tagValues": _values(request), "metrics": {}})


def metrics(request: Request) -> Response:
    """`/api/metrics/…`: not served; who asks is told by what."""
    message = (
        "this backend does not compute metrics from TraceQL (rate(), count_over_time(), quantile_over_time(), ...): "
        "search without them, or ask /api/v1/rates for rate, errors and durations of operations"
    )
    return PlainTextResponse(message, HTTPStatus.NOT_IMPLEMENTED)


def _spans(request: Request) -> list[StoredSpan]:
    spans = tenant_of(request).store.trace(normal_id("traceID", request.path_params["trace_id"]))
    if not spans:
        raise NotFoundError("trace not found")
    return spans


def _keys(request: Request) -> Iterator[tuple[str, str]]:
    """The attributes with their scopes, and what every span has."""
    wanted = request.query_params.get("scope") or "all"
    start, end = _window(request)
    if wanted in ("all", "none", "span", "resource"):
        scope = wanted if wanted in ("span", "resource") else ""
        where = _where(request)
        for one in tenant_of(request).store.attribute_keys(start, end, where=where, scope=scope, limit=_MAX_NAMES):
            yield one.scope, one.key
    if wanted in ("all", "none", "intrinsic"):
        for name in _INTRINSICS:
            yield "intrinsic", name


def _values(request: Request) -> list[dict[str, str]]:
    """The values of the path's tag: `.key`, `span.key`, `resource.key`, or what every span has."""
    scope, name = _tag(request.path_params["tag"])
    if scope == "intrinsic" and name in _KEYWORDS:
        return [{"type": "keyword", "value": word} for word in _KEYWORDS[name]]
    if name == "rootServiceName" and scope == "intrinsic":
        scope, name = "resource", "service.name"
    if name == "rootName" and scope == "intrinsic":
        name = "name"
    start, end = _window(request)
    where = _where(request)
    found = tenant_of(request).store.attribute_values(name, start, end, where=where, scope=scope, limit=_MAX_NAMES)
    return [{"type": _TYPES.get(type(one.value), "string"), "value": plain(one.value)} for one in found]


def _where(request: Request) -> Condition | None:
    """Of which spans tags are wanted: `q` as far as it is typed. What is not whole yet narrows nothing, as in Tempo."""
    try:
        return parse_condition(request.query_params.get("q") or "{ }")
    except QueryError:
        return None


def _tag(said: str) -> tuple[str, str]:
    """Scope and name of a tag."""
    for scope in ("span", "resource"):
        if said.startswith(f"{scope}."):
            return scope, said[len(scope) + 1 :]
    plain_name = ALIASES.get(said, said)
    if plain_name in INTRINSICS:
        return "intrinsic", plain_name
    return "", said.removeprefix(".")


def _varint(value: int) -> bytes:
    """A number as protobuf has it."""
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes((*parts, value))


def _found(found: FoundTrace) -> dict[str, Any]:
    summary, sets = found.summary, [_set(one) for one in found.sets]
    return {
        "traceID": summary.trace_id.lstrip("0"),
        "rootServiceName": summary.service,
        "rootTraceName": summary.name,
        "startTimeUnixNano": str(summary.start_time),
        "durationMs": summary.duration // 1_000_000,
        "spanSet": sets[0] if sets else {"spans": [], "matched": 0},
        "spanSets": sets,
        "serviceStats": {
            name: {"spanCount": count.spans, "errorCount": count.errors} for name, count in summary.services.items()
        },
    }


def _set(found: SpanSet) -> dict[str, Any]:
    return {
        "spans": [_span(span) for span in found.spans],
        "matched": found.matched,
        "attributes": attribute_list(found.attributes),
    }


def _span(span: MatchedSpan) -> dict[str, Any]:
    return {
        "spanID": span.span_id,
        "name": span.name,
        "startTimeUnixNano": str(span.start_time),
        "durationNanos": str(span.duration),
        "attributes": attribute_list(span.attributes),
    }


def _query(request: Request) -> TraceQuery:
    named = request.query_params.get
    if said := named("q"):
        if named("tags"):
            raise ParameterError("tags", "cannot be together with q")
        return parse(said)
    return all_of(*_conditions(named("tags") or "", named("minDuration"), named("maxDuration")))


def _conditions(text: str, shortest: str | None, longest: str | None) -> Iterator[Condition]:
    for key, value in _logfmt(text).items():
        yield is_value(key, value)
    if shortest:
        yield compare("traceDuration", ">=", go_duration("minDuration", shortest))
    if longest:
        yield compare("traceDuration", "<=", go_duration("maxDuration", longest))


def _logfmt(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    position, text = 0, text.strip()
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None:
            raise ParameterError("tags", f"key=value is expected at {text[position : position + 50]!r}")
        key, quoted, plain = pair.groups()
        if key in found:
            raise ParameterError("tags", f"{key[:100]!r} is there twice")
        found[key] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
        position = pair.end()
    return found


def _window(request: Request) -> tuple[int, int]:
    """The last hour, unless start and end say something else."""
    now = time.time_ns() // _SECOND + 1
    end = _number(request, "end", now, 0, ENDLESS // _SECOND)
    start = _number(request, "start", max(0, end - _HOUR // _SECOND), 0, ENDLESS // _SECOND)
    if start >= end:
        raise ParameterError("start", "must be before end")
    return start * _SECOND, end * _SECOND


def _number(request: Request, name: str, default: int, lowest: int, highest: int) -> int:
    said = request.query_params.get(name)
    return number(name, said, lowest, highest) if said else default


def routes() -> list[Route]:
    """All of it but `/api/traces/{id}`, which Jaeger's has."""
    return [
        Route("/api/echo", echo),
        Route("/api/status/buildinfo", build_info),
        Route("/api/v2/traces/{trace_id}", trace_v2),
        Route("/api/search", search),
        Route("/api/metrics/query", metrics),
        Route("/api/metrics/query_range", metrics),
        Route("/api/metrics/summary", metrics),
        Route("/api/search/tags", tags),
        Route("/api/search/tag/{tag:path}/values", tag_values),
        Route("/api/v2/search/tags", tags_v2),
        Route("/api/v2/search/tag/{tag:path}/values", tag_values_v2),
    ]
