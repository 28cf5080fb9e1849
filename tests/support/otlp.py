"""OTLP requests for tests, good and bad."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

NOW = time.time_ns()


def message(*changes: Callable[[Any], None], count: int | None = None) -> ExportTraceServiceRequest:
    """A request with one good span for each change, changed; or with so many."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    entry = of_resource.resource.attributes.add(key="service.name")
    entry.value.string_value = "shop"
    spans = of_resource.scope_spans.add().spans
    for index in range(count or len(changes)):
        one = spans.add(
            trace_id=(index + 1).to_bytes(16, "big"),
            span_id=(index + 1).to_bytes(8, "big"),
            name="op",
            start_time_unix_nano=NOW,
            end_time_unix_nano=NOW + 5,
        )
        if index < len(changes):
            changes[index](one)
    return request


def as_json(request: ExportTraceServiceRequest) -> dict[str, Any]:
    """The request as JSON."""
    from kai_tracing_core.processing.otlp import encode_json

    document: dict[str, Any] = json.loads(encode_json(request))
    return document


def nest(value: Any, depth: int) -> None:
    """Put a number into so many arrays."""
    for _ in range(depth):
        value = value.array_value.values.add()
    value.int_value = 1


def _attributes(span: Any, count: int) -> None:
    for number in range(count):
        span.attributes.add(key=f"k{number}").value.int_value = number


def _link(span: Any, trace_id: bytes, span_id: bytes) -> None:
    span.links.add(trace_id=trace_id, span_id=span_id)


def changed(**fields: Any) -> Callable[[Any], None]:
    """A change that sets these fields."""

    def change(span: Any) -> None:
        for name, value in fields.items():
            setattr(span, name, value)

    return change


BAD: dict[str, Callable[[Any], None]] = {
    "trace_id must have 16 bytes": changed(trace_id=b"12345678"),
    "trace_id must not be all zero": changed(trace_id=bytes(16)),
    "span_id must have 8 bytes": changed(span_id=b"123"),
    "span_id must not be all zero": changed(span_id=bytes(8)),
    "parent_span_id must have 8 bytes": changed(parent_span_id=b"123"),
    "start_time is missing": changed(start_time_unix_nano=0),
    "start_time is before the year 2000": changed(start_time_unix_nano=5_000_000_000),
    "start_time is more than a day in the future": changed(start_time_unix_nano=10_100_000_000 * 10**9),
    "end_time is before start_time": changed(end_time_unix_nano=NOW - 1),
    "end_time is missing": changed(end_time_unix_nano=0),
    "longer than a year": changed(end_time_unix_nano=(1 << 64) - 1),
    "the attribute 'big' is longer": lambda span: setattr(
        span.attributes.add(key="big").value, "string_value", "x" * 10_000_000
    ),
    "10000 attributes are more than": lambda span: _attributes(span, 10_000),
    "nested more than": lambda span: nest(span.attributes.add(key="deep").value, 20),
    "name, status message or trace state": changed(name="x" * 2_000_000),
    "a link's trace_id must have 16 bytes, not 3": lambda span: _link(span, b"123", b"12345678"),
    "a link's span_id must have 8 bytes, not 0": lambda span: _link(span, bytes(16), b""),
    "2000 links": lambda span: span.links.extend(type(span.links.add())() for _ in range(1_000)),
}
