"""The search for traces, and whether a query is one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Query
from fastapi.responses import JSONResponse

from kai_tracing_backend.api.parameters import ParameterError
from kai_tracing_backend.api.v1.asking import Asking, LastHour, PageCursor, router_of
from kai_tracing_backend.api.v1.models import QueryCheck, SearchAnswer
from kai_tracing_backend.api.v1.words import kind_word, status_word
from kai_tracing_backend.formats import otlp
from kai_tracing_backend.language.errors import QueryError
from kai_tracing_backend.language.parser import MAX_LENGTH, parse
from kai_tracing_backend.model import FoundTrace, MatchedSpan, SpanSet

__all__ = ["QueryText", "router", "trace_document", "validation"]

router = router_of("search")
validation = router_of("search", limited=False)

_EXAMPLES = ['{ resource.service.name = "cart" && duration > 200ms && status = error }', "{ }"]
QueryText = Annotated[
    str, Query(max_length=MAX_LENGTH, description="The query, close to TraceQL; see the guide.", examples=_EXAMPLES)
]


@router.get("/search", response_model=SearchAnswer)
def search(
    tenant: Asking,
    window: LastHour,
    q: QueryText = "{ }",
    limit: Annotated[int, Query(ge=1, le=1_000, description="How many traces at most.")] = 20,
    cursor: PageCursor = None,
    spans: Annotated[int, Query(ge=0, le=100, description="How many spans of each set at most.")] = 3,
) -> JSONResponse:
    """The traces in which the query finds a span that started in the window, newest first, page by page.

    Without times it is the last hour. To turn pages say the same `start` and `end` again.
    """
    start, end = window
    query = parse(q)
    try:
        page = tenant.store.search(query, start, end, limit=limit, cursor=cursor, spans_per_set=spans)
    except ValueError as error:
        raise ParameterError("cursor", str(error)) from error
    return JSONResponse({"traces": [trace_document(one) for one in page.traces], "cursor": page.cursor})


@validation.get("/query/validate", response_model=QueryCheck)
async def validate(q: QueryText) -> JSONResponse:
    """Whether a query can be understood, and if not, where it is wrong."""
    return _check(q)


@validation.post("/query/validate", response_model=QueryCheck)
async def validate_body(
    q: Annotated[str, Body(embed=True, max_length=MAX_LENGTH, description="The query.", examples=_EXAMPLES)],
) -> JSONResponse:
    """The same, for queries that are long."""
    return _check(q)


def _check(text: str) -> JSONResponse:
    answer: dict[str, Any] = {"valid": False, "query": None, "error": None, "line": None, "column": None}
    try:
        query = parse(text)
    except QueryError as error:
        place = {"line": error.line, "column": error.column, "pointer": error.pointer()}
        return JSONResponse({**answer, "error": error.message, **place})
    return JSONResponse({**answer, "valid": True, "query": str(query), "pointer": None})


def trace_document(found: FoundTrace) -> dict[str, Any]:
    """A trace that was found, as the API answers it."""
    summary = found.summary
    return {
        "traceId": summary.trace_id,
        "service": summary.service,
        "name": summary.name,
        "startTimeUnixNano": str(summary.start_time),
        "durationNanos": summary.duration,
        "spans": summary.spans,
        "errors": summary.errors,
        "services": [
            {"service": name, "spans": count.spans, "errors": count.errors} for name, count in summary.services.items()
        ],
        "spanSets": [_set(one) for one in found.sets],
    }


def _set(found: SpanSet) -> dict[str, Any]:
    return {
        "matched": found.matched,
        "spans": [_span(span) for span in found.spans],
        "attributes": otlp.attribute_list(found.attributes),
    }


def _span(span: MatchedSpan) -> dict[str, Any]:
    return {
        "spanId": span.span_id,
        "parentSpanId": span.parent_id or "",
        "name": span.name,
        "service": span.service,
        "kind": kind_word(span.kind),
        "status": status_word(span.status),
        "startTimeUnixNano": str(span.start_time),
        "durationNanos": span.duration,
        "attributes": otlp.attribute_list(span.attributes),
    }
