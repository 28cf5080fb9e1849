"""OTLP's trace requests, protobuf and JSON, straight into columns (opentelemetry-proto, docs/specification.md).

Each function takes what it can: a span that is not valid is left out and counted, the others are stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from kai_tracing_backend.collector.documents import identifier, load, mapping, objects, string, unsigned
from kai_tracing_backend.collector.otlp_messages import KeyValue, Remembered, ResourceSpans, ScopeSpans, Span, Status
from kai_tracing_backend.collector.validation import (
    MAX_ATTRIBUTES,
    MAX_EVENTS,
    MAX_LINKS,
    MAX_TEXT,
    UNKNOWN_SERVICE,
    Accepted,
    check_attributes,
    check_ids,
    check_link,
    check_times,
    check_too_many,
    weight,
)
from kai_tracing_backend.collector.wire import Budget, check_count, fields, parts, without
from kai_tracing_backend.columns import SpanColumns, dump_events, dump_links, dump_resource, dump_scope
from kai_tracing_backend.model import Scope, SpanEvent, SpanLink
from kai_tracing_backend.values import MAX_DEPTH, Value, attributes_from_otlp

__all__ = ["decode_json", "decode_protobuf"]

_UINT32 = (1 << 32) - 1
_FLAGS = (1 << 10) - 1  # of OTLP; the others are reserved
_UINT64 = (1 << 64) - 1

# Fields of trace.proto and trace_service.proto.
_RESOURCE_SPANS = 1
_SCOPE_SPANS = 2
_SPANS = 2
_SPAN_ATTRIBUTES = 9
_MOST = {_SPAN_ATTRIBUTES: (MAX_ATTRIBUTES, "attributes"), 11: (MAX_EVENTS, "events"), 13: (MAX_LINKS, "links")}
_SMALL = 2_000  # bytes of a span in which nothing can be too much: events and links take two, at least
_LARGE = MAX_TEXT + 10_000
_MAX_SPAN = 8 << 20  # bytes
_MAX_SHELL = 2 << 20  # of a resource or scope
_MAX_FIELDS = MAX_ATTRIBUTES + MAX_EVENTS + MAX_LINKS + 1_000  # of a span; it has some more, and unknown ones


class _UnreadableError(ValueError):
    """What is no protobuf, or has text that is not UTF-8."""


def _service(resource: Mapping[str, Value]) -> str:
    name = resource.get("service.name")
    return name if isinstance(name, str) and name else UNKNOWN_SERVICE


# -- protobuf ----------------------------------------------------------------------------------------------------------


def decode_protobuf(body: bytes) -> tuple[SpanColumns, Accepted]:
    """The spans of an `ExportTraceServiceRequest`.

    Raises:
        ValueError: it is none: broken, nested too deeply, or with text that is not UTF-8.
    """
    check_count(memoryview(body), _RESOURCE_SPANS, _SCOPE_SPANS)
    columns, accepted = SpanColumns(), Accepted()
    unreadable = 0
    for of_resource in parts(memoryview(body), _RESOURCE_SPANS):
        if not (scopes := [of for of in parts(of_resource, _SCOPE_SPANS) if _has(of, _SPANS)]):
            continue
        try:
            service, resource = _RESOURCES[_shell(of_resource, of=_SCOPE_SPANS)]
            texts = [_SCOPES[_shell(of_scope, of=_SPANS)] for of_scope in scopes]
        except ValueError as error:
            accepted.reject(f"resource or scope: {error}", sum(1 for of in scopes for _ in parts(of, _SPANS)))
            continue
        for scope, of_scope in zip(texts, scopes, strict=True):
            columns.origin(service, resource, scope)
            for span in parts(of_scope, _SPANS):
                try:
                    _add(columns, span)
                except ValueError as error:
                    unreadable += isinstance(error, _UnreadableError)
                    accepted.reject(error)
    if unreadable and unreadable == accepted.rejected and not len(columns):
        raise ValueError(accepted.message)  # no partial success: none of it is what it should be
    return columns, accepted


def _has(message: memoryview, number: int) -> bool:
    return next(parts(message, number), None) is not None


def _shell(message: memoryview, of: int) -> bytes:
    """A message without the field of its parts, which is walked through by itself."""
    shell = without(message, of)
    if len(shell) > _MAX_SHELL:
        raise ValueError(f"one of {len(shell)} bytes is larger than {_MAX_SHELL}")
    return shell


def _parsed(kind: Any, message: bytes) -> Any:
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise _UnreadableError(f"{kind.DESCRIPTOR.name} is not protobuf: {error}") from error


def _check_large(span: memoryview) -> None:
    """What a large span has too much of, before it is parsed."""
    found: Counter[int] = Counter()
    for number, part in fields(span, Budget(_MAX_FIELDS, "a span")):
        found[number] += 1
        if number == _SPAN_ATTRIBUTES and len(part) > _LARGE:
            key = next((bytes(text) for inner, text in fields(part) if inner == 1), b"").decode(errors="replace")
            raise ValueError(f"the attribute {key[:100]!r} is longer than {MAX_TEXT}")
    for number, (highest, what) in _MOST.items():
        if found[number] > highest:
            raise ValueError(f"{found[number]} {what} are more than {highest}")
    if len(span) > _MAX_SPAN:
        raise ValueError(f"a span of {len(span)} bytes is larger than {_MAX_SPAN}")


def _add(columns: SpanColumns, message: memoryview) -> None:
    if len(message) > _LARGE:
        _check_large(message)
    span = _parsed(Span, bytes(message))
    trace_id, span_id, parent_id = span.trace_id, span.span_id, span.parent_span_id
    check_ids(trace_id, span_id, parent_id)
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    check_times(start, end)
    attributes = _attributes(span.attributes)
    status, status_message = _STATUSES[span.status]
    name, trace_state = span.name, span.trace_state
    events, links = span.events, span.links
    if len(message) > _SMALL:
        check_too_many(len(events), len(links), name, status_message, trace_state)
    fields = (
        int.from_bytes(parent_id, "big"),
        start,
        end - start,
        name,
        _enumerated(span.kind, 5),
        status,
        status_message,
        trace_state,
        span.flags & _FLAGS,
        weight(trace_state, trace_id, attributes),
        dump_events(list(map(_event, events))) if events else None,
        dump_links(list(map(_link, links))) if links else None,
        span.dropped_attributes_count,
        span.dropped_events_count,
        span.dropped_links_count,
    )
    columns.add(trace_id, span_id, fields, attributes)


def _enumerated(value: int, highest: int) -> int:
    """An enumeration's number; one that OTLP does not know is 0, "unspecified" and "unset"."""
    return value if 0 <= value <= highest else 0


def _event(event: Any) -> SpanEvent:
    attributes = _attributes(event.attributes)
    return SpanEvent(event.time_unix_nano, event.name, attributes, event.dropped_attributes_count)


def _link(link: Any) -> SpanLink:
    return SpanLink(
        *_linked(link.trace_id, link.span_id),
        link.trace_state,
        _attributes(link.attributes),
        link.flags & _FLAGS,
        link.dropped_attributes_count,
    )


def _linked(trace_id: bytes, span_id: bytes) -> tuple[str, str]:
    check_link(trace_id, span_id)
    return trace_id.hex(), span_id.hex()


def _attributes(pairs: Sequence[bytes]) -> dict[str, Value]:
    """Of a repeated key the last value holds."""
    if len(pairs) > MAX_ATTRIBUTES:
        raise ValueError(f"{len(pairs)} attributes are more than {MAX_ATTRIBUTES}")
    return dict(map(_ATTRIBUTES.__getitem__, pairs[:]))  # a slice is made faster than it is walked through


def _attribute(message: bytes) -> tuple[str, Value]:
    pair = _parsed(KeyValue, message)
    key, value = pair.key, _value(pair.value)
    if len(message) > MAX_TEXT:
        check_attributes({key: value})
    return key, value


def _value(value: Any, depth: int = 0) -> Value:
    if depth > MAX_DEPTH:
        raise ValueError(f"values are nested more than {MAX_DEPTH} deep")
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item, depth + 1) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value, depth + 1) for pair in value.kvlist_value.values}
    found: Value = getattr(value, kind)
    return found


def _status(message: bytes) -> tuple[int, str]:
    """The code and the message."""
    status = _parsed(Status, message)
    return _enumerated(status.code, 2), status.message


def _resource(message: bytes) -> tuple[str, str]:
    """The service and the whole resource as text."""
    shell = _parsed(ResourceSpans, message)
    attributes = _attributes(shell.resource.attributes)
    return _service(attributes), dump_resource(attributes, shell.schema_url)


def _scope(message: bytes) -> str:
    shell = _parsed(ScopeSpans, message)
    scope = shell.scope
    return dump_scope(Scope(scope.name, scope.version, _attributes(scope.attributes), shell.schema_url))


# At most some ten megabytes each.
_ATTRIBUTES = Remembered(_attribute, most=20_000, longest=200)
_STATUSES = Remembered(_status, most=20_000, longest=200)
_RESOURCES = Remembered(_resource, most=2_000, longest=2_000)
_SCOPES = Remembered(_scope, most=2_000, longest=2_000)


# -- JSON --------------------------------------------------------------------------------------------------------------


def decode_json(body: bytes) -> tuple[SpanColumns, Accepted]:
    """The spans of a request in OTLP's JSON: ids in hexadecimal, 64-bit integers as strings or numbers.

    Unknown fields are ignored. Text that is not Unicode becomes U+FFFD.

    Raises:
        ValueError: it is not JSON, or not of that shape.
    """
    document = load(body)
    columns, accepted = SpanColumns(), Accepted()
    for of_resource in objects(document, "resourceSpans"):
        scopes = objects(of_resource, "scopeSpans")
        try:
            resource = _json_attributes(mapping(of_resource, "resource"))
            resource_text = dump_resource(resource, string(of_resource, "schemaUrl"))
            texts = [_json_scope(of_scope) for of_scope in scopes]
        except ValueError as error:
            accepted.reject(f"resource or scope: {error}", sum(len(objects(of, "spans")) for of in scopes))
            continue
        for scope_text, of_scope in zip(texts, scopes, strict=True):
            columns.origin(_service(resource), resource_text, scope_text)
            for span in objects(of_scope, "spans"):
                try:
                    _add_json(columns, span)
                except ValueError as error:
                    accepted.reject(error)
    return columns, accepted


def _json_scope(of_scope: Mapping[str, Any]) -> str:
    scope = mapping(of_scope, "scope")
    return dump_scope(
        Scope(string(scope, "name"), string(scope, "version"), _json_attributes(scope), string(of_scope, "schemaUrl"))
    )


def _add_json(columns: SpanColumns, span: Mapping[str, Any]) -> None:
    trace_id, span_id, parent_id = (identifier(span, name) for name in ("traceId", "spanId", "parentSpanId"))
    check_ids(trace_id, span_id, parent_id)
    start, end = (unsigned(span, name, _UINT64) for name in ("startTimeUnixNano", "endTimeUnixNano"))
    check_times(start, end)
    attributes = _json_attributes(span)
    status = mapping(span, "status")
    name, message, trace_state = string(span, "name"), string(status, "message"), string(span, "traceState")
    events, links = objects(span, "events"), objects(span, "links")
    check_too_many(len(events), len(links), name, message, trace_state)
    fields = (
        int.from_bytes(parent_id, "big"),
        start,
        end - start,
        name,
        _enumerated(unsigned(span, "kind", _UINT32), 5),
        _enumerated(unsigned(status, "code", _UINT32), 2),
        message,
        trace_state,
        unsigned(span, "flags", _UINT32) & _FLAGS,
        weight(trace_state, trace_id, attributes),
        dump_events(list(map(_json_event, events))),
        dump_links(list(map(_json_link, links))),
        *(unsigned(span, f"dropped{what}Count", _UINT32) for what in ("Attributes", "Events", "Links")),
    )
    columns.add(trace_id, span_id, fields, attributes)


def _json_event(event: Mapping[str, Any]) -> SpanEvent:
    return SpanEvent(
        unsigned(event, "timeUnixNano", _UINT64),
        string(event, "name"),
        _json_attributes(event),
        unsigned(event, "droppedAttributesCount", _UINT32),
    )


def _json_link(link: Mapping[str, Any]) -> SpanLink:
    return SpanLink(
        *_linked(identifier(link, "traceId"), identifier(link, "spanId")),
        string(link, "traceState"),
        _json_attributes(link),
        unsigned(link, "flags", _UINT32) & _FLAGS,
        unsigned(link, "droppedAttributesCount", _UINT32),
    )


def _json_attributes(holder: Mapping[str, Any]) -> dict[str, Value]:
    attributes = attributes_from_otlp(holder.get("attributes"))
    check_attributes(attributes)
    return attributes
