"""Traces by id, and the details of their spans."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Path
from fastapi.responses import JSONResponse

from kai_tracing_backend.api.errors import NotFoundError
from kai_tracing_backend.api.traces import normal_id
from kai_tracing_backend.api.v1.asking import Asking, router_of
from kai_tracing_backend.api.v1.models import Candidates, Failure, SpanDetails, Trace
from kai_tracing_backend.api.v1.words import kind_word, status_word
from kai_tracing_backend.formats import otlp
from kai_tracing_backend.language.trace import Trace as SpanTree
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.storage.contract import SpanStore

__all__ = ["router"]

_CANDIDATES = 20

router = router_of("traces")

TraceIdPath = Annotated[
    str,
    Path(
        description="The id: 32 hexadecimal digits, fewer without the zeros on the left, or the first of them.",
        json_schema_extra={"pattern": "^[0-9a-fA-F]{1,32}$"},  # `normal_id` checks it, and says it in plain words
        examples=["0af7651916cd43dd8448eb211c80319c", "0af765"],
    ),
]
SpanIdPath = Annotated[
    str,
    Path(
        description="The id: 16 hexadecimal digits, or fewer without the zeros on the left.",
        json_schema_extra={"pattern": "^[0-9a-fA-F]{1,16}$"},
        examples=["b7ad6b7169203331"],
    ),
]
_ANSWERS: dict[int | str, dict[str, Any]] = {
    300: {"model": Candidates, "description": "Several traces have ids that begin so."},
    404: {"model": Failure, "description": "There is no such trace or span."},
}


@router.get("/traces/{trace_id}", response_model=Trace, responses=_ANSWERS)
def trace(trace_id: TraceIdPath, tenant: Asking) -> JSONResponse:
    """The spans of a trace by start, each as OTLP's JSON has it, with its service, resource and scope.

    Where no trace has this id but one has an id that begins so, it is that one; where several do, the answer is 300
    with their ids.
    """
    found = _find(tenant.store, trace_id)
    if isinstance(found, JSONResponse):
        return found
    return JSONResponse({"traceId": found[0].trace_id, "spans": [span_document(span) for span in found]})


@router.get("/traces/{trace_id}/spans/{span_id}", response_model=SpanDetails, responses=_ANSWERS)
def span(trace_id: TraceIdPath, span_id: SpanIdPath, tenant: Asking) -> JSONResponse:
    """A span of a trace, with its parent and its children in a few words."""
    wanted = normal_id("span_id", span_id, 16)
    found = _find(tenant.store, trace_id)
    if isinstance(found, JSONResponse):
        return found
    tree = SpanTree(found)
    own = [index for index, one in enumerate(tree.spans) if one.span_id == wanted]
    if not own:
        raise NotFoundError(f"the trace {found[0].trace_id} has no span {span_id}")
    parents = [parent for index in own if (parent := tree.parents[index]) is not None and parent not in own]
    children = [one for one, parent in zip(tree.spans, tree.parents, strict=True) if parent in own]
    return JSONResponse(
        {
            "traceId": found[0].trace_id,
            "spans": [span_document(tree.spans[index]) for index in own],
            "parent": _reference(tree.spans[parents[0]]) if parents else None,
            "children": [_reference(one) for one in children if one.span_id != wanted],
        }
    )


def span_document(span: StoredSpan) -> dict[str, Any]:
    """`models.Span`."""
    return {
        **otlp.span_document(span),
        "service": span.service,
        "adjustedCount": span.adjusted_count,
        "resource": {"attributes": otlp.attribute_list(span.resource), "schemaUrl": span.resource_schema_url},
        "scope": {**otlp.scope_document(span.scope), "schemaUrl": span.scope.schema_url},
    }


def _find(store: SpanStore, said: str) -> list[StoredSpan] | JSONResponse:
    """The spans of the trace that is meant, or the answer that several may be."""
    if spans := store.trace(normal_id("trace_id", said)):
        return spans
    candidates = store.trace_ids(said, limit=_CANDIDATES + 1)
    if len(candidates) > 1:
        more = "at least " if len(candidates) > _CANDIDATES else ""
        error = f"the ids of {more}{min(len(candidates), _CANDIDATES)} traces begin with {said}: say more of it"
        return JSONResponse({"error": error, "candidates": candidates[:_CANDIDATES]}, HTTPStatus.MULTIPLE_CHOICES)
    spans = store.trace(candidates[0]) if candidates else []
    if not spans:
        raise NotFoundError(f"there is no trace {said}")
    return spans


def _reference(span: StoredSpan) -> dict[str, Any]:
    return {
        "spanId": span.span_id,
        "name": span.name,
        "service": span.service,
        "kind": kind_word(span.kind),
        "status": status_word(span.status),
        "startTimeUnixNano": str(span.start_time),
        "durationNanos": span.duration,
    }
