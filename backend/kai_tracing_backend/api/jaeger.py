"""Jaeger's legacy query API, which its older interfaces, its trace view and Grafana read.

Answers are `{data, total, limit, offset, errors}`. Times of a search are microseconds, those of dependencies
milliseconds; durations are Go's (`1.5s`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kai_tracing_backend.api import tempo
from kai_tracing_backend.api.errors import NotFoundError, Problem, answering
from kai_tracing_backend.api.parameters import DAY, ENDLESS, ParameterError, go_duration, number
from kai_tracing_backend.api.traces import MAX_TRACES, find, is_value, normal_id, of_service
from kai_tracing_backend.formats.jaeger import KINDS, trace_document
from kai_tracing_backend.language.building import all_of, compare
from kai_tracing_backend.language.nodes import Condition
from kai_tracing_backend.tenants import tenant_of

__all__ = ["duration_conditions", "endpoint", "envelope", "kind_number", "routes", "tag_conditions", "tags_in"]

_MICROSECOND = 1_000
_MILLISECOND = 1_000_000
_DEFAULT_LIMIT = 100
_MAX_TAGS = 100
_MAX_IDS = 1_000


def _refuse(problem: Problem) -> Response:
    said = [{"code": problem.status, "msg": problem.message}]
    return JSONResponse(envelope(None, errors=said), problem.status, problem.headers)


def envelope(data: Any, *, counted: bool = False, errors: Sequence[Any] | None = None) -> dict[str, Any]:
    """What most answers are."""
    total = len(data) if counted else 0
    return {"data": data, "total": total, "limit": 0, "offset": 0, "errors": errors or None}


endpoint = answering(_refuse)


@endpoint
def services(request: Request) -> Response:
    """`/api/services`: their names."""
    return JSONResponse(envelope(tenant_of(request).store.services(), counted=True))


@endpoint
def service_operations(request: Request) -> Response:
    """`/api/services/{service}/operations`: the names of what a service does."""
    found = tenant_of(request).store.operations(request.path_params["service"])
    return JSONResponse(envelope(sorted({operation.name for operation in found}), counted=True))


@endpoint
def operations(request: Request) -> Response:
    """`/api/operations?service&spanKind`: what a service does, with kinds."""
    found = tenant_of(request).store.operations(_service(request))
    kind = request.query_params.get("spanKind")
    wanted = None if not kind else kind_number("spanKind", kind)
    data = [
        {"name": operation.name, "spanKind": KINDS[operation.kind]}
        for operation in found
        if wanted in (None, operation.kind)
    ]
    return JSONResponse(envelope(data, counted=True))


@endpoint
def traces(request: Request) -> Response:
    """`/api/traces`: a search, or with `traceID` (more than one, if need be) the traces that are named."""
    if wanted := request.query_params.getlist("traceID"):
        return _named(request, [normal_id("traceID", one) for one in wanted])
    store, service = tenant_of(request).store, _service(request)
    conditions = [of_service(service), *_conditions(request)]
    now = time.time_ns()
    start = _moment(request, "start", _MICROSECOND, now - 2 * DAY)
    end = _moment(request, "end", _MICROSECOND, now) + _MICROSECOND
    said = request.query_params.get("limit")
    limit = min(number("limit", said, 0, ENDLESS) if said else _DEFAULT_LIMIT, MAX_TRACES)
    found = find(store, all_of(*conditions), start, end, limit)
    return JSONResponse(envelope([trace_document(one) for one in found]))


@endpoint
def trace(request: Request) -> Response:
    """`/api/traces/{id}`. Tempo has that path, too, and is meant by who accepts protobuf."""
    if tempo.is_meant(request):
        return tempo.trace(request)
    wanted = normal_id("traceID", request.path_params["trace_id"])
    spans = tenant_of(request).store.trace(wanted)
    if not spans:
        raise NotFoundError("trace not found")
    return JSONResponse(envelope([trace_document(spans)]))


@endpoint
def dependencies(request: Request) -> Response:
    """`/api/dependencies?endTs&lookback&service`: who calls whom; milliseconds."""
    now = time.time_ns()
    end = _moment(request, "endTs", _MILLISECOND, now) + _MILLISECOND
    said = request.query_params.get("lookback")
    lookback = number("lookback", said, 0, ENDLESS // _MILLISECOND) * _MILLISECOND if said else DAY
    service = request.query_params.get("service")
    edges = tenant_of(request).store.dependencies(max(0, end - lookback), end)
    data = [
        {"parent": edge.parent, "child": edge.child, "callCount": edge.calls}
        for edge in edges
        if not service or service in (edge.parent, edge.child)
    ]
    return JSONResponse(envelope(data))


def _named(request: Request, wanted: list[str]) -> Response:
    if len(wanted) > _MAX_IDS:
        raise ParameterError("traceID", f"names more than {_MAX_IDS} traces")
    found = tenant_of(request).store.traces(wanted)
    known = {spans[0].trace_id for spans in found}
    errors = [{"code": 0, "msg": "trace not found", "traceID": one} for one in wanted if one not in known]
    return JSONResponse(envelope([trace_document(spans) for spans in found], errors=errors))


def _conditions(request: Request) -> Iterator[Condition]:
    if operation := request.query_params.get("operation"):
        yield compare("name", "=", operation)
    tags: dict[str, str] = {}
    for one in request.query_params.getlist("tag"):
        key, colon, value = one.partition(":")
        if not colon:
            raise ParameterError("tag", f"key:value is expected, not {one[:100]!r}")
        tags[key] = value
    for text in request.query_params.getlist("tags"):
        tags.update(tags_in("tags", text))
    yield from tag_conditions("tags", tags)
    yield from duration_conditions("minDuration", "maxDuration", request)


def tag_conditions(name: str, tags: dict[str, str]) -> Iterator[Condition]:
    """A condition for each tag."""
    if len(tags) > _MAX_TAGS:
        raise ParameterError(name, f"has more than {_MAX_TAGS} tags")
    for key, value in tags.items():
        yield is_value(key, value)


def duration_conditions(shortest: str, longest: str, request: Request) -> Iterator[Condition]:
    """Conditions on a span's duration, by the names of both parameters."""
    low, high = (
        go_duration(name, said) if (said := request.query_params.get(name)) else 0 for name in (shortest, longest)
    )
    if low and high and high < low:
        raise ParameterError(longest, f"should be greater than {shortest}")
    if low:
        yield compare("duration", ">=", low)
    if high:
        yield compare("duration", "<=", high)


def kind_number(name: str, kind: str) -> int:
    """OTLP's number of a kind by Jaeger's word."""
    if kind == "unspecified":
        return 0
    if kind not in KINDS:
        raise ParameterError(name, f"{kind[:100]!r} is none of unspecified, {', '.join(KINDS[1:])}")
    return KINDS.index(kind)


def tags_in(name: str, text: str) -> dict[str, str]:
    """The tags that a JSON object of strings says."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ParameterError(name, f"is not JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ParameterError(name, 'a JSON object of strings is expected, such as {"http.status_code":"500"}')
    return found


def _moment(request: Request, name: str, unit: int, default: int) -> int:
    said = request.query_params.get(name)
    return number(name, said, 0, ENDLESS // unit) * unit if said else default


def _service(request: Request) -> str:
    if found := request.query_params.get("service"):
        return found
    raise ParameterError("service", "is required")


def routes() -> list[Route]:
    """All of it, at the root."""
    return [
        Route("/api/services", services),
        Route("/api/services/{service:path}/operations", service_operations),
        Route("/api/operations", operations),
        Route("/api/traces", traces),
        Route("/api/traces/{trace_id}", trace),
        Route("/api/dependencies", dependencies),
    ]
