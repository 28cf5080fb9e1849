"""Jaeger's JSON, that its UI saves and its legacy API answers, straight into columns (jaeger, internal/uimodel).

What Jaeger's translation from OTLP makes tags of (kind, status, scope, trace state) is made again what it was.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

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
_LONGEST_TIME = _INT64 // 1_000
_REF_TYPE = "opentracing.ref_type"


def decode(body: bytes) -> tuple[SpanColumns, Accepted]:
    """The spans of `{"data": [trace…]}`, of a list of traces, or of one trace.

    Raises:
        ValueError: it is not JSON, or not of that shape.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    return decode_document(document)


def decode_document(document: object) -> tuple[SpanColumns, Accepted]:
    """The same of JSON that was read already."""
    traces = document.get("data", [document]) if isinstance(document, Mapping) else document
    columns, accepted = SpanColumns(), Accepted()
    for trace in _objects(traces, "data"):
        processes = trace.get("processes") or {}
        if not isinstance(processes, Mapping):
            raise ValueError("processes must be an object")
        for span in _objects(trace.get("spans"), "spans"):
            try:
                columns.add_span(_span(span, processes))
            except ValueError as error:
                accepted.reject(error)
    return columns, accepted


def _span(span: Mapping[str, Any], processes: Mapping[str, Any]) -> StoredSpan:
    trace_id, span_id = _id(span, "traceID", 16), _id(span, "spanID", 8)
    links, parent_id = _references(span, trace_id)
    check_ids(trace_id, span_id, parent_id)
    start = _microseconds(span, "startTime") * 1_000
    duration = _microseconds(span, "duration") * 1_000
    check_times(start, start + duration)
    tags = _tags(span.get("tags"))
    process = span.get("process") or processes.get(text(span.get("processID") or "")) or {}
    if not isinstance(process, Mapping):
        raise ValueError("process must be an object")
    service = text(process.get("serviceName") or "") or UNKNOWN_SERVICE
    resource = {"service.name": service, **_tags(process.get("tags"))}
    kind = _KINDS.get(str(_taken(tags, "span.kind", str, "")), 0)
    failed = _taken(tags, "error", bool, False)
    status = _STATUSES.get(str(_taken(tags, "otel.status_code", str, "")), 2 if failed else 0)
    message, state = (str(_taken(tags, key, str, "")) for key in ("otel.status_description", "w3c.tracestate"))
    library, version = (str(_taken(tags, f"otel.scope.{part}", str, "")) for part in ("name", "version"))
    events = [_event(log) for log in _objects(span.get("logs") or [], "logs")]
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
    parent = _id(span, "parentSpanID", 8)
    links = []
    for reference in _objects(span.get("references") or [], "references"):
        kind, of_trace = text(reference.get("refType") or ""), _id(reference, "traceID", 16)
        of_span = _id(reference, "spanID", 8)
        if not parent and of_trace == trace_id and any(of_span):
            parent = of_span
            if kind == "CHILD_OF":
                continue
        attributes: dict[str, Value] = {_REF_TYPE: kind.lower()} if kind else {}
        links.append(SpanLink(of_trace.hex(), of_span.hex(), attributes=attributes))
    return links, parent if any(parent) else b""


def _event(log: Mapping[str, Any]) -> SpanEvent:
    fields = _tags(log.get("fields"))
    check_attributes(fields)
    name = _taken(fields, "event", str, "")
    return SpanEvent(_microseconds(log, "timestamp") * 1_000, str(name), fields)


def _tags(items: object) -> dict[str, Value]:
    return {text(tag.get("key")): _value(tag) for tag in _objects(items or [], "tags")}


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


def _objects(items: object, name: str) -> Iterator[Mapping[str, Any]]:
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise ValueError(f"{name} must be a list of objects")
    return iter(items)


def _id(document: Mapping[str, Any], name: str, size: int) -> bytes:
    """An id; a shorter one has zeros on the left. An absent one is empty."""
    found = text(document.get(name) or "")
    try:
        return bytes.fromhex(found.rjust(2 * size, "0")) if found else b""
    except ValueError as error:
        raise ValueError(f"{name} must be hexadecimal") from error


def _microseconds(document: Mapping[str, Any], name: str) -> int:
    try:
        return integer(document.get(name) or 0, 0, _LONGEST_TIME)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
