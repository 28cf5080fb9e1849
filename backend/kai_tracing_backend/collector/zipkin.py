"""Zipkin's v2 JSON (zipkin-api, zipkin2-api.yaml), straight into columns.

Tags stay what they are, strings. The remote endpoint becomes `peer.service`, `network.peer.address` and
`network.peer.port`, the local one `service.name`, `network.local.address` and `network.local.port`. Annotations
become events; an `error` tag, even an empty one, is a status.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from kai_tracing_backend.collector.documents import (
    identifier,
    load,
    mapping,
    microseconds,
    objects,
    string,
)
from kai_tracing_backend.collector.untimed import guess_starts
from kai_tracing_backend.collector.validation import (
    UNKNOWN_SERVICE,
    Accepted,
    check_attributes,
    check_ids,
    check_times,
    check_too_many,
    weight,
)
from kai_tracing_backend.columns import NO_TIMESTAMP, SHARED, SpanColumns, dump_events, dump_resource, dump_scope
from kai_tracing_backend.model import Scope, SpanEvent
from kai_tracing_backend.values import Value, integer, text

__all__ = ["decode", "decode_spans", "load_list"]

T = TypeVar("T")

_KINDS = {"SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
_STATUSES = {"OK": 1, "ERROR": 2}
_NO_SCOPE = dump_scope(Scope())


def decode(body: bytes) -> tuple[SpanColumns, Accepted]:
    """The spans of a `POST /api/v2/spans`.

    Raises:
        ValueError: it is not a list in JSON.
    """
    return decode_spans(load_list(body), lambda span: (span,))


def load_list(body: bytes) -> list[Any]:
    """The list in JSON that a body is. Raises ValueError where it is none."""
    document = load(body)
    if not isinstance(document, list):
        raise ValueError("a list of spans is expected")
    return document


def decode_spans(spans: Iterable[T], documents: Callable[[T], Iterable[Any]]) -> tuple[SpanColumns, Accepted]:
    """The spans of a request in any of Zipkin's formats; `documents` makes of one what it is in version 2's JSON.

    One that it raises a ValueError for, or that is not valid, is left out alone. Those without a time get one.
    """
    columns, accepted = SpanColumns(), Accepted()
    for span in spans:
        try:
            for document in documents(span):
                _add(columns, document)
        except ValueError as error:
            accepted.reject(error)
    guess_starts(columns, time.time_ns())
    return columns, accepted


def _add(columns: SpanColumns, span: object) -> None:
    """Add one span as version 2's JSON has it, with the start 0 where it says none."""
    if not isinstance(span, Mapping):
        raise ValueError("a span must be an object")
    trace_id, parent_id = identifier(span, "traceId", 16), identifier(span, "parentId", 8)
    span_id = identifier(span, "id", 8)
    check_ids(trace_id, span_id, parent_id)
    name = string(span, "name")
    annotations = objects(span, "annotations")
    check_too_many(len(annotations), 0, name)
    events = [SpanEvent(microseconds(one, "timestamp"), string(one, "value")) for one in annotations]
    start, duration = _times(span, events)
    tags = {text(key): text(value) for key, value in mapping(span, "tags").items()}
    status = _STATUSES.get(tags.get("otel.status_code", ""), 2 if "error" in tags else 0)
    local, remote = mapping(span, "localEndpoint"), mapping(span, "remoteEndpoint")
    attributes: dict[str, Value] = {**tags, **_address(local, "network.local"), **_address(remote, "network.peer")}
    if peer := string(remote, "serviceName"):
        attributes["peer.service"] = peer
    if span.get("debug") is True:
        attributes["zipkin.debug"] = True
    if not microseconds(span, "timestamp"):
        attributes[NO_TIMESTAMP] = True
    check_attributes(attributes)
    service = string(local, "serviceName") or UNKNOWN_SERVICE
    fields = (
        int.from_bytes(parent_id, "big"),
        start,
        duration,
        name,
        _KINDS.get(string(span, "kind").upper(), 0),
        status,
        tags.get("otel.status_description", tags.get("error", "")) if status == 2 else "",
        "",
        SHARED if span.get("shared") is True else 0,
        weight("", trace_id, attributes),
        dump_events(events),
        None,
        0,
        0,
        0,
    )
    columns.origin(service, dump_resource({"service.name": service}), _NO_SCOPE)
    columns.add(trace_id, span_id, fields, attributes)


def _times(span: Mapping[str, Any], events: Iterable[SpanEvent]) -> tuple[int, int]:
    """Start and duration; where no start is said, that of the first annotation, and 0 where there is none either."""
    start, duration = microseconds(span, "timestamp"), microseconds(span, "duration")
    start = start or min((event.time for event in events if event.time), default=0)
    began = start or time.time_ns()
    check_times(began, began + duration)
    return start, duration


def _address(endpoint: Mapping[str, Any], prefix: str) -> dict[str, Value]:
    attributes: dict[str, Value] = {}
    if address := string(endpoint, "ipv4") or string(endpoint, "ipv6"):
        attributes[f"{prefix}.address"] = address
    if endpoint.get("port"):
        attributes[f"{prefix}.port"] = integer(endpoint["port"], 0, 65_535)
    return attributes
