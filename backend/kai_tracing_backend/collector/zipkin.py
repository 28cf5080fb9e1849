"""Zipkin's v2 JSON (zipkin-api, zipkin2-api.yaml), straight into columns.

Tags stay what they are, strings. The remote endpoint becomes `peer.service`, `network.peer.address` and
`network.peer.port`, the local one `service.name`, `network.local.address` and `network.local.port`. Annotations
become events; an `error` tag, even an empty one, is a status.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from kai_tracing_backend.collector.documents import load
from kai_tracing_backend.collector.validation import (
    UNKNOWN_SERVICE,
    Accepted,
    check_attributes,
    check_ids,
    check_times,
    check_too_many,
    weight,
)
from kai_tracing_backend.columns import SHARED, SpanColumns, dump_events, dump_resource, dump_scope
from kai_tracing_backend.model import Scope, SpanEvent
from kai_tracing_backend.values import Value, integer, text

__all__ = ["add", "decode", "load_list"]

_KINDS = {"SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
_STATUSES = {"OK": 1, "ERROR": 2}
_NO_SCOPE = dump_scope(Scope())
_INT64 = (1 << 63) - 1


def decode(body: bytes) -> tuple[SpanColumns, Accepted]:
    """The spans of a `POST /api/v2/spans`.

    Raises:
        ValueError: it is not a list in JSON.
    """
    columns, accepted = SpanColumns(), Accepted()
    for span in load_list(body):
        try:
            if not isinstance(span, Mapping):
                raise ValueError("a span must be an object")  # noqa: TRY301 - counted like any other fault
            add(columns, span)
        except ValueError as error:
            accepted.reject(error)
    return columns, accepted


def load_list(body: bytes) -> list[Any]:
    """The list in JSON that a body is. Raises ValueError where it is none."""
    document = load(body)
    if not isinstance(document, list):
        raise ValueError("a list of spans is expected")
    return document


def add(columns: SpanColumns, span: Mapping[str, Any]) -> None:
    """Add one span as version 2's JSON has it. Raises ValueError where it is not valid."""
    trace_id, span_id, parent_id = _id(span, "traceId", 16), _id(span, "id", 8), _id(span, "parentId", 8)
    check_ids(trace_id, span_id, parent_id)
    start = _microseconds(span, "timestamp") * 1_000
    duration = _microseconds(span, "duration") * 1_000
    check_times(start, start + duration)
    tags = {text(key): text(value) for key, value in _object(span, "tags").items()}
    name = _text(span, "name")
    annotations = span.get("annotations") or []
    if not isinstance(annotations, list):
        raise ValueError("annotations must be a list")
    check_too_many(len(annotations), 0, name)
    status = _STATUSES.get(tags.get("otel.status_code", ""), 2 if "error" in tags else 0)
    local, remote = _object(span, "localEndpoint"), _object(span, "remoteEndpoint")
    attributes: dict[str, Value] = {**tags, **_address(local, "network.local"), **_address(remote, "network.peer")}
    if peer := _text(remote, "serviceName"):
        attributes["peer.service"] = peer
    if span.get("debug") is True:
        attributes["zipkin.debug"] = True
    check_attributes(attributes)
    service = _text(local, "serviceName") or UNKNOWN_SERVICE
    fields = (
        int.from_bytes(parent_id, "big"),
        start,
        duration,
        name,
        _KINDS.get(_text(span, "kind").upper(), 0),
        status,
        tags.get("otel.status_description", tags.get("error", "")) if status == 2 else "",
        "",
        SHARED if span.get("shared") is True else 0,
        weight("", trace_id, attributes),
        dump_events([_event(annotation) for annotation in annotations]),
        None,
        0,
        0,
        0,
    )
    columns.origin(service, dump_resource({"service.name": service}), _NO_SCOPE)
    columns.add(trace_id, span_id, fields, attributes)


def _event(annotation: object) -> SpanEvent:
    if not isinstance(annotation, Mapping):
        raise ValueError("an annotation must be an object")
    return SpanEvent(_microseconds(annotation, "timestamp") * 1_000, _text(annotation, "value"))


def _address(endpoint: Mapping[str, Any], prefix: str) -> dict[str, Value]:
    attributes: dict[str, Value] = {}
    if address := _text(endpoint, "ipv4") or _text(endpoint, "ipv6"):
        attributes[f"{prefix}.address"] = address
    if endpoint.get("port"):
        attributes[f"{prefix}.port"] = integer(endpoint["port"], 0, 65_535)
    return attributes


def _id(document: Mapping[str, Any], name: str, size: int) -> bytes:
    """An id; a shorter one has zeros on the left. An absent one is empty."""
    found = _text(document, name)
    try:
        return bytes.fromhex(found.rjust(2 * size, "0")) if found else b""
    except ValueError as error:
        raise ValueError(f"{name} must be hexadecimal") from error


def _microseconds(document: Mapping[str, Any], name: str) -> int:
    found = document.get(name)
    if isinstance(found, float) and isfinite(found):
        found = int(found)  # OpenTelemetry's exporter in JavaScript sends fractions
    try:
        return 0 if found is None else integer(found, 0, _INT64 // 1_000)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _object(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name) or {}
    if not isinstance(found, Mapping):
        raise ValueError(f"{name} must be an object")
    return found


def _text(document: Mapping[str, Any], name: str) -> str:
    found = document.get(name)
    return "" if found is None else text(found)
