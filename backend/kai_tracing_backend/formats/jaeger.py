"""Traces as Jaeger's JSON, that of its UI and of its legacy API (jaeger, internal/uimodel/model.go).

Kind, status, scope and trace state become tags under the names that Jaeger's own translation from OTLP gives them; what
is neither text nor number nor boolean is text. Times are microseconds.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kai_tracing_backend.columns import dump_resource
from kai_tracing_backend.formats.telling import telling
from kai_tracing_backend.model import SpanEvent, SpanLink, StoredSpan
from kai_tracing_backend.values import Value, plain

__all__ = ["KINDS", "trace_document"]

KINDS = ("", "internal", "server", "client", "producer", "consumer")
"""What Jaeger calls OTLP's kinds, by their number."""

_STATUSES = {1: "OK", 2: "ERROR"}
_SAFE_INTEGER = (1 << 53) - 1  # what JavaScript can count to
_REF_TYPE = "opentracing.ref_type"


def trace_document(spans: Iterable[StoredSpan]) -> dict[str, Any]:
    """One trace: its spans, and the processes that they name."""
    processes: dict[str, str] = {}
    described: dict[str, Any] = {}
    documents = []
    for span in telling(spans):
        resource = dump_resource({**span.resource, "service.name": span.service})
        process = processes.setdefault(resource, f"p{len(processes) + 1}")
        if process not in described:
            own = {key: value for key, value in span.resource.items() if key != "service.name"}
            described[process] = {"serviceName": span.service, "tags": _tags(own)}
        documents.append(_span(span, process))
    first = documents[0]["traceID"] if documents else ""
    return {"traceID": first, "spans": documents, "processes": described, "warnings": None}


def _span(span: StoredSpan, process: str) -> dict[str, Any]:
    warnings = [
        f"{count} {what} were dropped"
        for count, what in (
            (span.dropped_attributes, "attributes"),
            (span.dropped_events, "events"),
            (span.dropped_links, "links"),
        )
        if count
    ]
    return {
        "traceID": span.trace_id,
        "spanID": span.span_id,
        **({"flags": 1} if span.flags & 1 else {}),
        "operationName": span.name,
        "references": list(_references(span)),
        "startTime": span.start_time // 1_000,
        "duration": span.duration // 1_000,
        "tags": _span_tags(span),
        "logs": [_log(event) for event in span.events],
        "processID": process,
        "warnings": warnings or None,
    }


def _references(span: StoredSpan) -> Iterator[dict[str, str]]:
    """The parent first; a link to the parent says of what kind that reference is."""
    to_parent = [link for link in span.links if (link.trace_id, link.span_id) == (span.trace_id, span.parent_id)]
    if span.parent_id:
        kind = _kind_of(to_parent[-1]) if to_parent else "CHILD_OF"
        yield _reference(kind, span.trace_id, span.parent_id)
    for link in span.links:
        if link not in to_parent:
            yield _reference(_kind_of(link), link.trace_id, link.span_id)


def _reference(kind: str, trace_id: str, span_id: str) -> dict[str, str]:
    return {"refType": kind, "traceID": trace_id, "spanID": span_id}


def _kind_of(link: SpanLink) -> str:
    return "CHILD_OF" if link.attributes.get(_REF_TYPE) == "child_of" else "FOLLOWS_FROM"


def _span_tags(span: StoredSpan) -> list[dict[str, Any]]:
    said: dict[str, Value] = {
        "otel.scope.name": span.scope.name,
        "otel.scope.version": span.scope.version,
        "span.kind": KINDS[span.kind],
        "otel.status_code": _STATUSES.get(span.status, ""),
        "error": span.status == 2,
        "otel.status_description": span.status_message,
        "w3c.tracestate": span.trace_state,
    }
    return _tags({**span.attributes, **{key: value for key, value in said.items() if value}})


def _log(event: SpanEvent) -> dict[str, Any]:
    name: dict[str, Value] = {"event": event.name} if event.name else {}
    return {"timestamp": event.time // 1_000, "fields": _tags({**name, **event.attributes})}


def _tags(attributes: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [_tag(key, value) for key, value in attributes.items()]


def _tag(key: str, value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"key": key, "type": "bool", "value": value}
    if isinstance(value, int):
        exact = -_SAFE_INTEGER <= value <= _SAFE_INTEGER
        return {"key": key, "type": "int64", "value": value if exact else str(value)}
    if isinstance(value, float) and math.isfinite(value):
        return {"key": key, "type": "float64", "value": value}
    if isinstance(value, bytes):
        return {"key": key, "type": "binary", "value": base64.b64encode(value).decode()}
    return {"key": key, "type": "string", "value": plain(value)}
