"""Jaeger's query API, version 3 (jaeger-idl, api_v3/query_service.proto over HTTP), which its interface reads.

Traces are OTLP's JSON in `{"result": …}`. Parameters have two spellings, `query.serviceName` and `query.service_name`.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from itertools import chain
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kai_tracing_backend.api.errors import NotFoundError, Problem, answering
from kai_tracing_backend.api.jaeger import kind_number, tag_conditions, tags_in
from kai_tracing_backend.api.parameters import ENDLESS, ParameterError, go_duration, number, rfc3339
from kai_tracing_backend.api.traces import MAX_TRACES, find, normal_id, of_service
from kai_tracing_backend.formats.jaeger import KINDS
from kai_tracing_backend.formats.otlp import traces_data
from kai_tracing_backend.formats.telling import telling
from kai_tracing_backend.language.building import all_of, compare
from kai_tracing_backend.language.nodes import Condition, TraceQuery
from kai_tracing_backend.model import FoundTrace, StoredSpan
from kai_tracing_backend.tenants import tenant_of

__all__ = ["routes"]

_DEFAULT_DEPTH = 100


def _refuse(problem: Problem) -> Response:
    status = HTTPStatus(problem.status).phrase if problem.status in HTTPStatus._value2member_map_ else ""
    said = {"httpCode": problem.status, "message": problem.message, "httpStatus": status}
    return JSONResponse({"error": said}, problem.status, problem.headers)


endpoint = answering(_refuse)


@endpoint
def services(request: Request) -> Response:
    """`services`: their names."""
    return JSONResponse({"services": tenant_of(request).store.services()})


@endpoint
def operations(request: Request) -> Response:
    """`operations?service&spanKind`: what a service does, with kinds."""
    service, kind = request.query_params.get("service") or "", _said(request, "spanKind")[1]
    wanted = kind_number("spanKind", kind) if kind else None
    found = tenant_of(request).store.operations(service)
    # Jaeger takes a span of no kind for an internal one.
    answer = [{"name": one.name, "spanKind": KINDS[one.kind or 1]} for one in found if wanted in (None, one.kind)]
    return JSONResponse({"operations": answer})


@endpoint
def trace(request: Request) -> Response:
    """`traces/{id}`: the spans of one, between `startTime` and `endTime` where they are said."""
    wanted = normal_id("trace_id", request.path_params["trace_id"])
    start, end = _moment(request, "startTime"), _moment(request, "endTime")
    spans = tenant_of(request).store.trace(wanted)
    if not spans or not any((start or 0) <= span.start_time <= (end or ENDLESS) for span in spans):
        raise NotFoundError("No traces found")
    return _result(spans)


@endpoint
def traces(request: Request) -> Response:
    """`traces`: a search; no match is a 404."""
    query, start, end, depth = _asked(request)
    spans = list(chain.from_iterable(find(tenant_of(request).store, query, start, end, depth)))
    if not spans:
        raise NotFoundError("No traces found")
    return _result(spans)


@endpoint
def trace_summaries(request: Request) -> Response:
    """`trace-summaries`: the same search, of each trace only what a list shows."""
    query, start, end, depth = _asked(request)
    store = tenant_of(request).store
    found = store.search(query, start, end, limit=depth, spans_per_set=1).traces if depth else ()
    return JSONResponse({"summaries": [_summary(one) for one in found]})


def _summary(found: FoundTrace) -> dict[str, Any]:
    summary = found.summary
    return {
        "traceId": summary.trace_id,
        "rootServiceName": summary.service,
        "rootOperationName": summary.name,
        "minStartTimeUnixNano": str(summary.start_time),
        "maxEndTimeUnixNano": str(summary.start_time + summary.duration),
        "spanCount": summary.spans,
        "errorSpanCount": summary.errors,
        "services": [
            {"name": name, "spanCount": count.spans, "errorSpanCount": count.errors}
            for name, count in summary.services.items()
        ],
    }


def _result(spans: list[StoredSpan]) -> Response:
    """Each span with its status, as Jaeger has it even where there is nothing to say: interfaces look into it."""
    result = traces_data(telling(spans))
    for of_resource in result["resourceSpans"]:
        for of_scope in of_resource["scopeSpans"]:
            for span in of_scope["spans"]:
                span.setdefault("status", {})
    return JSONResponse({"result": result})


def _asked(request: Request) -> tuple[TraceQuery, int, int, int]:
    """What a search asks for: the query, its window and how many traces."""
    start, end = _moment(request, "query.startTimeMin"), _moment(request, "query.startTimeMax")
    if start is None or end is None:
        raise ParameterError("query.startTimeMin", "is required, and so is query.startTimeMax")
    if start >= end:
        raise ParameterError("query.startTimeMin", "must be before query.startTimeMax")
    for name in ("query.searchDepth", "query.numTraces"):
        used, said = _said(request, name)
        if said:
            return all_of(*_conditions(request)), start, end, min(number(used, said, 0, ENDLESS), MAX_TRACES)
    return all_of(*_conditions(request)), start, end, _DEFAULT_DEPTH


def _conditions(request: Request) -> Iterator[Condition]:
    if service := _said(request, "query.serviceName")[1]:
        yield of_service(service)
    if operation := _said(request, "query.operationName")[1]:
        yield compare("name", "=", operation)
    for name, operator in (("query.durationMin", ">="), ("query.durationMax", "<=")):
        used, said = _said(request, name)
        if bound := go_duration(used, said) if said else 0:
            yield compare("duration", operator, bound)
    used, said = _said(request, "query.attributes")
    yield from tag_conditions(used, tags_in(used, said) if said else {})


def _moment(request: Request, name: str) -> int | None:
    used, said = _said(request, name)
    return rfc3339(used, said) if said else None


def _said(request: Request, name: str) -> tuple[str, str]:
    """A parameter by whichever of its names is used, with that name."""
    older = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    used = name if request.query_params.get(name) else older
    return used, request.query_params.get(used) or ""


def routes() -> list[Route]:
    """All of it."""
    return [
        Route("/api/v3/services", services),
        Route("/api/v3/operations", operations),
        Route("/api/v3/traces", traces),
        Route("/api/v3/traces/{trace_id}", trace),
        Route("/api/v3/trace-summaries", trace_summaries),
    ]
