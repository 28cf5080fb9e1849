"""OTLP requests filled in with opentelemetry-proto's messages: what the encoder's bytes are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from kai_tracing_core.attributes import SpanLimits, clean_attributes
from kai_tracing_core.processing.otlp_encoding import own_scope
from kai_tracing_core.processing.tags import ADJUSTED_COUNT, untold_count
from kai_tracing_core.span import Span
from kai_tracing_core.trace_context import WIRE_FLAGS

_REMOTE = {False: 0x100, True: 0x300}


def request_of(spans: Sequence[Span]) -> ExportTraceServiceRequest:
    """The request that `encode_request` must encode."""
    request = ExportTraceServiceRequest()
    resources: dict[int, Any] = {}
    scopes: dict[tuple[int, int], Any] = {}
    for span in spans:
        scope = span._scope or own_scope()
        if id(span.resource) not in resources:
            added = resources[id(span.resource)] = request.resource_spans.add(
                schema_url=getattr(span.resource, "schema_url", "")
            )
            added.resource.dropped_attributes_count = _fill(added.resource, span.resource)
        key = id(span.resource), id(scope)
        if key not in scopes:
            group = scopes[key] = resources[key[0]].scope_spans.add(schema_url=scope.schema_url or "")
            group.scope.name = scope.name
            group.scope.version = scope.version or ""
            group.scope.dropped_attributes_count = _fill(group.scope, scope.attributes or {})
        _fill_span(scopes[key].spans.add(), span)
    return request


def _fill_span(message: Any, span: Span) -> None:
    limits: SpanLimits = span._sink.limits
    message.trace_id = bytes.fromhex(span.trace_id)
    message.span_id = bytes.fromhex(span.span_id)
    message.parent_span_id = bytes.fromhex(span.parent_id or "")
    message.trace_state = span.trace_state
    message.flags = span._flags & WIRE_FLAGS | _REMOTE[span.has_remote_parent]
    message.name = _valid(span.name)
    message.kind = span.kind + 1
    message.start_time_unix_nano = span.start_time
    message.end_time_unix_nano = span.end_time
    if span.status:
        message.status.code = span.status
        message.status.message = _valid(span.status_message or "")
    dropped = _fill(message, span._attributes, limits.attributes, limits.value_length)
    message.dropped_attributes_count = dropped + span._dropped[0]
    _, message.dropped_events_count, message.dropped_links_count = span._dropped
    if (count := untold_count(span)) is not None:
        message.attributes.add(key=ADJUSTED_COUNT).value.double_value = count
    for name, at, attributes in span._events:
        event = message.events.add(name=_valid(name), time_unix_nano=at)
        event.dropped_attributes_count = _fill(event, attributes, limits.event_attributes, limits.value_length)
    for target, attributes in span._links:
        link = message.links.add(
            trace_id=bytes.fromhex(target.trace_id),
            span_id=bytes.fromhex(target.span_id),
            trace_state=target.trace_state,
            flags=target._flags & WIRE_FLAGS | _REMOTE[target.is_remote],
        )
        link.dropped_attributes_count = _fill(link, attributes, limits.link_attributes, limits.value_length)


def _fill(holder: Any, attributes: Mapping[str, Any], limit: int = 1 << 31, length: int | None = None) -> int:
    cleaned, dropped = clean_attributes(attributes, limit, length)
    for key, value in cleaned.items():
        _set(holder.attributes.add(key=str.__str__(key)).value, value)
    return dropped


def _set(target: Any, value: Any) -> None:
    if isinstance(value, list):
        target.array_value.SetInParent()
        for item in value:
            _set(target.array_value.values.add(), item)
    else:
        names = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}
        setattr(target, names[type(value)], value)


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
