"""Zipkin's query API, version 2 (zipkin-api, zipkin2-api.yaml), and what its web interface Lens asks for besides.

Times are milliseconds, durations microseconds. Errors are plain text, as Zipkin's are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from kai_tracing_backend.api.errors import NotFoundError, Problem, answering
from kai_tracing_backend.api.parameters import DAY, ENDLESS, ParameterError, number
from kai_tracing_backend.api.traces import MAX_TRACES, find, is_value, normal_id, of_service
from kai_tracing_backend.formats.zipkin import NO_TAGS, trace_document, trace_id
from kai_tracing_backend.language.building import any_of, attribute, compare
from kai_tracing_backend.language.nodes import And, Condition, Filter, SpansetOperation, TraceQuery
from kai_tracing_backend.storage.contract import SpanStore
from kai_tracing_backend.tenants import tenant_of
from kai_tracing_backend.values import plain

__all__ = ["routes"]

_MILLISECOND = 1_000_000
_MICROSECOND = 1_000
_LAST = ENDLESS // _MILLISECOND
_MAX_CONDITIONS = 100
_MAX_IDS = 1_000
_MAX_NAMES = 10_000
_LENS = {
    "environment": "",
    "queryLimit": 10,
    "defaultLookback": 900_000,
    "searchEnabled": True,
    "logsUrl": None,
    "supportUrl": None,
    "archivePostUrl": None,
    "archiveUrl": None,
    "dependency": {"enabled": True, "lowErrorRate": 0.5, "highErrorRate": 0.75},
}


def _refuse(problem: Problem) -> Response:
    return PlainTextResponse(problem.message, problem.status, problem.headers)


endpoint = answering(_refuse)


@endpoint
def services(request: Request) -> Response:
    """`services`: their names."""
    return JSONResponse(tenant_of(request).store.services())


@endpoint
def spans(request: Request) -> Response:
    """`spans?serviceName`: the names of a service's spans."""
    store = tenant_of(request).store
    found = [store.operations(name) for name in _services(store, _service(request))]
    return JSONResponse(sorted({one.name for operations in found for one in operations if one.name}))


@endpoint
def remote_services(request: Request) -> Response:
    """`remoteServices?serviceName`: the names of other sides that a service's spans of the last day carry."""
    store, now = tenant_of(request).store, time.time_ns()
    names: set[str] = set()
    for service in _services(store, _service(request)):
        where = of_service(service)
        found = store.attribute_values("peer.service", now - DAY, now, scope="span", where=where, limit=_MAX_NAMES)
        names.update(plain(one.value) for one in found)
    return JSONResponse(sorted(names))


@endpoint
def traces(request: Request) -> Response:
    """`traces`: a search; every condition is about spans of the service, if one is named."""
    start, end = _window(request, time.time_ns() // _MILLISECOND + 1)
    limit = min(_number(request, "limit", 10), MAX_TRACES)
    found = find(tenant_of(request).store, _query(request), start, end, limit)
    return JSONResponse([trace_document(one) for one in found])


@endpoint
def trace(request: Request) -> Response:
    """`trace/{traceId}`: the spans of one."""
    wanted = normal_id("traceId", request.path_params["trace_id"].strip())
    if not int(wanted, 16):
        raise ParameterError("traceId", "is all zeros")
    found = tenant_of(request).store.trace(wanted)
    if not found:
        raise NotFoundError(f"{trace_id(wanted)} not found")
    return JSONResponse(trace_document(found))


@endpoint
def trace_many(request: Request) -> Response:
    """`traceMany?traceIds`: several, comma-separated; those that are not known are left out."""
    wanted = [normal_id("traceIds", one) for one in _required(request, "traceIds").split(",")]
    if len(set(wanted)) < len(wanted):
        raise ParameterError("traceIds", "names a trace twice")
    if len(wanted) == 1:
        raise ParameterError("traceIds", "names one trace only: use /api/v2/trace/{traceId}")
    if len(wanted) > _MAX_IDS:
        raise ParameterError("traceIds", f"names more than {_MAX_IDS} traces")
    return JSONResponse([trace_document(spans) for spans in tenant_of(request).store.traces(wanted)])


@endpoint
def dependencies(request: Request) -> Response:
    """`dependencies?endTs&lookback`: who calls whom, itself and what sends no spans among them."""
    _required(request, "endTs")
    edges = tenant_of(request).store.dependencies(*_window(request, 0), peers=True, loops=True)
    return JSONResponse(
        [
            {"parent": edge.parent, "child": edge.child, "callCount": edge.calls}
            | ({"errorCount": edge.errors} if edge.errors else {})
            for edge in edges
        ]
    )


@endpoint
def autocomplete_keys(request: Request) -> Response:
    """`autocompleteKeys`: the tags that there are, of the last day; what Zipkin has other places for is none."""
    now = time.time_ns()
    found = tenant_of(request).store.attribute_keys(now - DAY, now, limit=_MAX_NAMES)
    return JSONResponse(sorted({one.key for one in found} - NO_TAGS))


@endpoint
def autocomplete_values(request: Request) -> Response:
    """`autocompleteValues?key`: the values of a tag, of the last day."""
    now = time.time_ns()
    found = tenant_of(request).store.attribute_values(_required(request, "key"), now - DAY, now, limit=_MAX_NAMES)
    return JSONResponse(sorted({plain(one.value) for one in found}))


def config(request: Request) -> Response:
    """`/zipkin/config.json`: what Lens is set to."""
    return JSONResponse(_LENS)


def info(request: Request) -> Response:
    """`/info`: which version answers."""
    return JSONResponse({"zipkin": {"version": version("kai-tracing-backend"), "commit": ""}})


@endpoint
def health(request: Request) -> Response:
    """`/health`: whether the store answers."""
    tenant_of(request).store.services(0, 1)
    up = {"status": "UP"}
    return JSONResponse({**up, "zipkin": {**up, "details": {"DuckDBStore": up}}})


def _query(request: Request) -> TraceQuery:
    """What a search asks for. Its conditions may be fulfilled by different spans."""
    named = request.query_params.get
    service, services = [], []
    if said := named("serviceName"):
        services = _services(tenant_of(request).store, said) or [said]
        service = [any_of(*map(of_service, services))]
    conditions = [*_annotations(named("annotationQuery") or ""), *_names(request, services), *_durations(request)]
    filters = [Filter(_all([*service, condition])) for condition in conditions]
    if not filters:
        return TraceQuery(Filter(_all(service)) if service else Filter())
    wanted: Filter | SpansetOperation = filters[0]
    for one in filters[1:]:
        wanted = SpansetOperation("&&", wanted, one)
    return TraceQuery(wanted)


def _services(store: SpanStore, said: str) -> list[str]:
    """The services that are meant: Zipkin writes them in lower case, senders as they like."""
    return [name for name in store.services() if name.lower() == said.lower()]


def _all(conditions: list[Condition]) -> Condition:
    return conditions[0] if len(conditions) == 1 else And(tuple(conditions))


def _names(request: Request, services: list[str]) -> Iterator[Condition]:
    if (said := request.query_params.get("spanName")) and said != "all":
        store = tenant_of(request).store
        known = {one.name for service in services for one in store.operations(service)}
        same = sorted({said, *(name for name in known if name.lower() == said.lower())})
        yield any_of(*(compare("name", "=", name) for name in same))
    if remote := request.query_params.get("remoteServiceName"):
        yield compare(attribute("peer.service"), "=", remote)


def _durations(request: Request) -> Iterator[Condition]:
    shortest, longest = (
        _number(request, name, 0) if request.query_params.get(name) else None for name in ("minDuration", "maxDuration")
    )
    if longest is not None and shortest is None:
        raise ParameterError("maxDuration", "is only valid with minDuration")
    if longest is not None and shortest is not None and longest < shortest:
        raise ParameterError("maxDuration", "is less than minDuration")
    bounds = []
    if shortest is not None:
        bounds.append(compare("duration", ">=", shortest * _MICROSECOND))
    if longest is not None:
        bounds.append(compare("duration", "<", (longest + 1) * _MICROSECOND))
    if bounds:
        yield _all(bounds)


def _annotations(text: str) -> Iterator[Condition]:
    """`key=value and key and annotation`: tags, and what is the name of a tag or of an annotation."""
    wanted: dict[str, str] = {}
    for part in text.split(" and ") if text else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if equals or key not in wanted:
            wanted[key] = value
    if len(wanted) > _MAX_CONDITIONS:
        raise ParameterError("annotationQuery", f"has more than {_MAX_CONDITIONS} conditions")
    for key, value in wanted.items():
        if key == "error" and value:  # its text: a span that failed without one has the tag, but not `error=true`
            yield any_of(compare(attribute("error"), "=", value), compare("statusMessage", "=", value))
        elif value:
            yield is_value(key, value)
        elif key == "error":
            yield compare("status", "=", 2)
        elif key:
            yield any_of(compare(attribute(key), "!=", None), compare("event:name", "=", key))


def _window(request: Request, now: int) -> tuple[int, int]:
    last = _number(request, "endTs", now)
    lookback = _number(request, "lookback", DAY // _MILLISECOND)
    return max(0, last - lookback) * _MILLISECOND, (last + 1) * _MILLISECOND


def _number(request: Request, name: str, default: int) -> int:
    said = request.query_params.get(name)
    return number(name, said, 1, _LAST) if said else default


def _service(request: Request) -> str:
    """The service that is asked for; an empty name is nobody's."""
    if (found := request.query_params.get("serviceName")) is None:
        raise ParameterError("serviceName", "is required")
    return found


def _required(request: Request, name: str) -> str:
    if found := request.query_params.get(name):
        return found
    raise ParameterError(name, "is required")


_PATHS: dict[str, Any] = {
    "services": services,
    "spans": spans,
    "remoteServices": remote_services,
    "traces": traces,
    "trace/{trace_id}": trace,
    "traceMany": trace_many,
    "dependencies": dependencies,
    "autocompleteKeys": autocomplete_keys,
    "autocompleteValues": autocomplete_values,
}


def routes() -> list[Route]:
    """All of it, at the root and, where Lens looks, under `/zipkin`."""
    prefixes = ("/api/v2/", "/zipkin/api/v2/")
    of_api = [Route(prefix + path, handler) for prefix in prefixes for path, handler in _PATHS.items()]
    beside = {"/zipkin/config.json": config, "/info": info, "/health": health}
    return [*of_api, *(Route(path, handler) for path, handler in beside.items())]
