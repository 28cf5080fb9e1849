"""Jaeger's JSON, that its UI saves and its legacy API answers, straight into columns (jaeger, internal/uimodel).

What Jaeger's translation from OTLP makes tags of (kind, status, scope, trace state) is made again what it was.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from kai_tracing_backend.collector.documents import identifier, load, mapping, microseconds, objects
from kai_tracing_backend.collector.validation import (
    UNKNOWN_SERVICE,
    Accepted,
    check_attributes,
    check_ids,
    check_times,
    check_too_many,
    weight,
)
from kai_tracing_backend.columns import SpanColumns
from kai_tracing_backend.model import Scope, SpanEvent, SpanLink, StoredSpan
from kai_tracing_backend.values import Value, integer, text

__all__ = ["decode", "decode_document"]

_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUSES = {"OK": 1, "ERROR": 2}
_INT64 = (1 << 63) - 1
_REF_TYPE = "opentracing.ref_type"


def decode(body: bytes) -> tuple[SpanColumns, Accepted]:
    """The spans of `{"data": [trace…]}`, of a list of traces, or of one trace.

    Raises:
        ValueError: it is not JSON, or not of that shape.
    """
    return decode_document(load(body))


def decode_document(document: object) -> tuple[SpanColumns, Accepted]:
    """The same of JSON that was read already."""
    traces = document.get("data", [document]) if isinstance(document, Mapping) else document
    columns, accepted = SpanColumns(), Accepted()
    for trace in objects({"data": traces}, "data"):
        processes = mapping(trace, "processes")
        for span in objects(trace, "spans"):
            try:
                columns.add_span(_span(span, processes))
            except ValueError as error:
                accepted.reject(error)
    return columns, accepted


def _span(span: Mapping[str, Any], processes: Mapping[str, Any]) -> StoredSpan:
    trace_id, span_id = identifier(span, "traceID", 16), identifier(span, "spanID", 8)
    links, parent_id = _references(span, trace_id)
    check_ids(trace_id, span_id, parent_id)
    start, duration = microseconds(span, "startTime"), microseconds(span, "duration")
    check_times(start, start + duration)
    tags = _tags(span, "tags")
    process = span.get("process") or processes.get(text(span.get("processID") or "")) or {}
    if not isinstance(process, Mapping):
        raise ValueError("process must be an object")
    service = text(process.get("serviceName") or "") or UNKNOWN_SERVICE
    resource = {"service.name": service, **_tags(process, "tags")}
    kind = _KINDS.get(str(_taken(tags, "span.kind", str, "")), 0)
    failed = _taken(tags, "error", bool, False)
    status = _STATUSES.get(str(_taken(tags, "otel.status_code", str, "")), 2 if failed else 0)
    message, state = (str(_taken(tags, key, str, "")) for key in ("otel.status_description", "w3c.tracestate"))
    library, version = (str(_taken(tags, f"otel.scope.{part}", str, "")) for part in ("name", "version"))
    events = [_event(log) for log in objects(span, "logs")]
    name = text(span.get("operationName") or "")
    check_attributes(tags)
    check_attributes(resource)
    check_too_many(len(events), len(links), name, message, state)
    return StoredSpan(
        trace_id=trace_id.hex(),
        span_id=span_id.hex(),
        parent_id=parent_id.hex() or None,
        name=name,
        service=service,
        start_time=start,
        duration=duration,
        kind=kind,
        status=status,
        status_message=message,
        trace_state=state,
        flags=integer(span.get("flags") or 0, 0, (1 << 32) - 1) & 1,
        adjusted_count=weight(state, trace_id, tags),
        attributes=tags,
        events=events,
        links=links,
        resource=resource,
        scope=Scope(library, version),
    )


def _references(span: Mapping[str, Any], trace_id: bytes) -> tuple[list[SpanLink], bytes]:
    """The first reference to a child's parent in the same trace is the parent; the others are links."""
    parent = identifier(span, "parentSpanID", 8)
    links = []
    for reference in objects(span, "references"):
        kind, of_trace = text(reference.get("refType") or ""), identifier(reference, "traceID", 16)
        of_span = identifier(reference, "spanID", 8)
        if not parent and of_trace == trace_id and any(of_span):
            parent = of_span
            if kind == "CHILD_OF":
                continue
        attributes: dict[str, Value] = {_REF_TYPE: kind.lower()} if kind else {}
        links.append(SpanLink(of_trace.hex(), of_span.hex(), attributes=attributes))
    return links, parent if any(parent) else b""


def _event(log: Mapping[str, Any]) -> SpanEvent:
    fields = _tags(log, "fields")
    check_attributes(fields)
    name = _taken(fields, "event", str, "")
    return SpanEvent(microseconds(log, "timestamp"), str(name), fields)


def _tags(holder: Mapping[str, Any], name: str) -> dict[str, Value]:
    return {text(tag.get("key")): _value(tag) for tag in objects(holder, name)}


def _value(tag: Mapping[str, Any]) -> Value:
    kind, value = tag.get("type"), tag.get("value")
    if kind == "bool":
        return value if isinstance(value, bool) else str(value).lower() == "true"
    if kind == "int64":
        return integer(value, -_INT64 - 1, _INT64)
    if kind == "float64":
        return float(value) if isinstance(value, (int, float, str)) else 0.0
    if kind == "binary":
        return base64.b64decode(text(value), validate=True)
    return text(value if isinstance(value, str) else json.dumps(value))


def _taken(tags: dict[str, Value], key: str, kind: type, otherwise: Value) -> Value:
    """A tag that is none of the sender's, out of the others."""
    return tags.pop(key) if isinstance(tags.get(key), kind) else otherwise
