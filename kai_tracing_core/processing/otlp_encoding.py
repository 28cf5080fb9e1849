"""OTLP requests in protobuf, written byte by byte (opentelemetry-proto: trace.proto, common.proto, resource.proto).

Filling opentelemetry-proto's messages costs a span twice as much as this, and importing them takes as long as importing
this package. What spans repeat, names and attributes, is encoded once and remembered. Whether it is what the
messages would have been is tested against them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from struct import Struct
from typing import Any, NamedTuple

from kai_tracing_core.attributes import SpanLimits, clean_attributes
from kai_tracing_core.processing.tags import ADJUSTED_COUNT, slices, untold_count
from kai_tracing_core.span import Span
from kai_tracing_core.span_parts import Event, Link, Rare, Scope
from kai_tracing_core.trace_context import PARENT_REMOTE, WIRE_FLAGS

__all__ = ["encode_request", "own_scope"]

_DISTRIBUTION = "kai-tracing-core"

# What is remembered: this many of each sort, then all of them are forgotten; and nothing longer than so many bytes.
_REMEMBERED = 2048
_LONGEST = 160

_UINT64 = (1 << 64) - 1
_INT64_MAX = 1 << 63

# trace.proto, SpanFlags: whether the parent (of a link: the target) is remote is known, and is so.
_REMOTE_KNOWN = 0x100
_REMOTE = 0x200

# -- protobuf ----------------------------------------------------------------------------------------------------------

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types; a tag is the number of a field and one of them (protobuf.dev, "Encoding")."""

_double = Struct("<d").pack
_fixed32 = Struct("<I").pack
_fixed64 = Struct("<Q").pack


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _tag(field: int, wire_type: int = _BYTES) -> bytes:
    return _varint(field << 3 | wire_type)


def _field(tag: bytes, data: bytes) -> bytes:
    return b"".join((tag, _varint(len(data)), data))


def _text(tag: bytes, value: Any) -> bytes:
    """A string field, left out where it is empty."""
    return _field(tag, str(value).encode("utf-8", "replace")) if value else b""


def _number(tag: bytes, value: int) -> bytes:
    """An unsigned field, left out where it is 0."""
    return tag + _varint(value) if value else b""


class _Memory(dict[Any, bytes]):
    """What was encoded before, by what it was made of."""

    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        super().__init__()
        self._encode = encode

    def __missing__(self, key: Any) -> bytes:
        encoded = self._encode(key)
        if len(encoded) <= _LONGEST:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[key] = encoded
        return encoded


# -- common.proto: attributes ------------------------------------------------------------------------------------------

_KEY, _VALUE = _tag(1), _tag(2)
_STRING, _BOOL, _INT, _DOUBLE, _ARRAY = _tag(1), _tag(2, _VARINT), _tag(3, _VARINT), _tag(4, _FIXED64), _tag(5)
_VALUES = _tag(1)


def _value(value: Any) -> bytes:
    """An AnyValue of a scalar, or of a list of them.

    Raises:
        TypeError: it is neither.
        ValueError: it is a string with lone surrogates, or an integer beyond 64 bits.
    """
    kind = type(value)
    if kind is str:
        return _field(_STRING, value.encode())
    if kind is bool:
        return _BOOL + _varint(value)
    if kind is int:
        if not -_INT64_MAX <= value < _INT64_MAX:
            raise ValueError(value)
        return _INT + _varint(value & _UINT64)
    if kind is float:
        return _DOUBLE + _double(value)
    if kind is list:
        return _field(_ARRAY, b"".join(_field(_VALUES, _value(item)) for item in value))
    raise TypeError(kind)


def _attribute(tag: bytes, key: str, value: Any) -> bytes:
    """A KeyValue in the field with this tag."""
    return _field(tag, _field(_KEY, str.encode(key)) + _field(_VALUE, _value(value)))


class _AttributeMemory(_Memory):
    """The attributes of one field, by key, type and value."""

    def __init__(self, tag: bytes) -> None:
        super().__init__(self._make)
        self.tag = tag

    def _make(self, entry: tuple[Any, type, Any]) -> bytes:
        key, _, value = entry
        if type(key) is not str or not key:
            raise TypeError(key)
        return _attribute(self.tag, key, value)

    def __missing__(self, entry: tuple[Any, type, Any]) -> bytes:
        # Floats hardly ever come again, and 0.0 is equal to -0.0.
        return self._make(entry) if entry[1] is float else super().__missing__(entry)


def _attributes(
    memory: _AttributeMemory, attributes: Mapping[str, Any], limit: int = 1 << 31, length: int | None = None
) -> tuple[list[bytes], int]:
    """The attributes as fields, and how many were dropped.

    Nearly all are fit for export as they are, so that is tried first; whatever is not has all of them cleaned.
    """
    if length is not None or len(attributes) > limit:
        return _cleaned(memory.tag, attributes, limit, length)
    try:
        return [memory[key, type(value), value] for key, value in attributes.items()], 0
    except Exception:  # not fit, or not to be remembered: lists have no hash
        return _cleaned(memory.tag, attributes, limit, length)


def _cleaned(tag: bytes, attributes: Mapping[str, Any], limit: int, length: int | None) -> tuple[list[bytes], int]:
    cleaned, dropped = clean_attributes(attributes, limit, length)
    return [_attribute(tag, key, value) for key, value in cleaned.items()], dropped


# -- trace.proto -------------------------------------------------------------------------------------------------------

_TRACE_ID, _SPAN_ID, _PARENT_ID = _tag(1) + b"\x10", _tag(2) + b"\x08", _tag(4) + b"\x08"
_TRACE_STATE, _NAME, _KIND, _STATUS = _tag(3), _tag(5), _tag(6, _VARINT), _tag(15)
_START, _END, _FLAGS = _tag(7, _FIXED64), _tag(8, _FIXED64), _tag(16, _FIXED32)
_EVENT, _LINK = _tag(11), _tag(13)
_LOST_ATTRIBUTES, _LOST_EVENTS, _LOST_LINKS = (_tag(number, _VARINT) for number in (10, 12, 14))
_STATUS_MESSAGE, _STATUS_CODE = _tag(2), _tag(3, _VARINT)

_EVENT_TIME, _EVENT_NAME, _EVENT_LOST = _tag(1, _FIXED64), _tag(2), _tag(4, _VARINT)
_LINK_STATE, _LINK_LOST, _LINK_FLAGS = _tag(3), _tag(5, _VARINT), _tag(6, _FIXED32)

_OF_SPAN, _OF_EVENT, _OF_LINK = (_AttributeMemory(_tag(number)) for number in (9, 3, 4))

_times = Struct("<cQcQ").pack


def _span(span: Span, limits: SpanLimits, clean: bool = False) -> bytes:
    """The span; raises for attributes that are not fit for export, unless they are to be cleaned."""
    shared = span._shared
    parts = [
        _TRACE_ID,
        span._trace_id.to_bytes(16, "big"),
        _SPAN_ID,
        span._span_id.to_bytes(8, "big"),
        _HEADS[span.name, span._kind, shared.flags],
        _times(_START, span._start, _END, span._end),
    ]
    if span._parent_id:
        parts += _PARENT_ID, span._parent_id.to_bytes(8, "big")
    if shared.trace_state:
        parts.append(_text(_TRACE_STATE, shared.trace_state))
    dropped = 0
    attributes = span._attributes
    if attributes:
        # `_attributes`, but for the call, which would cost a span a tenth of this.
        if clean or limits.value_length is not None or len(attributes) > limits.attributes:
            encoded, dropped = _cleaned(_OF_SPAN.tag, attributes, limits.attributes, limits.value_length)
            parts += encoded
        else:
            parts += [_OF_SPAN[key, type(value), value] for key, value in attributes.items()]
    rare = span._rare
    if rare is not None:
        parts += _events_and_links(rare, limits)
        dropped += rare.dropped[0]
        if rare.status:
            parts.append(_field(_STATUS, _text(_STATUS_MESSAGE, rare.message) + _number(_STATUS_CODE, rare.status)))
    if dropped:
        parts.append(_number(_LOST_ATTRIBUTES, dropped))
    if shared.weight is not None and (count := untold_count(span)) is not None:
        parts.append(_attribute(_OF_SPAN.tag, ADJUSTED_COUNT, count))
    return b"".join(parts)


def _head(key: tuple[str, int, int]) -> bytes:
    """Name, kind (OTLP's numbers begin with `UNSPECIFIED`) and flags, which most spans have in common with others."""
    name, kind, flags = key
    return _text(_NAME, name) + _number(_KIND, kind + 1) + _flags(_FLAGS, flags & WIRE_FLAGS, flags & PARENT_REMOTE)


def _flags(tag: bytes, flags: int, remote: object) -> bytes:
    return tag + _fixed32(flags | _REMOTE_KNOWN | (_REMOTE if remote else 0))


def _events_and_links(rare: Rare, limits: SpanLimits) -> list[bytes]:
    parts = [_field(_EVENT, _event(event, limits)) for event in rare.events or ()]
    parts += [_field(_LINK, _link(link, limits)) for link in rare.links or ()]
    _, events, links = rare.dropped
    parts += _number(_LOST_EVENTS, events), _number(_LOST_LINKS, links)
    return parts


def _event(event: Event, limits: SpanLimits) -> bytes:
    name, at, attributes = event
    encoded, dropped = _attributes(_OF_EVENT, attributes, limits.event_attributes, limits.value_length)
    time = _EVENT_TIME + _fixed64(at)
    return b"".join((time, _text(_EVENT_NAME, name), *encoded, _number(_EVENT_LOST, dropped)))


def _link(link: Link, limits: SpanLimits) -> bytes:
    context, attributes = link
    encoded, dropped = _attributes(_OF_LINK, attributes, limits.link_attributes, limits.value_length)
    return b"".join(
        (
            _TRACE_ID,
            context._trace_id.to_bytes(16, "big"),
            _SPAN_ID,
            context._span_id.to_bytes(8, "big"),
            _text(_LINK_STATE, context._trace_state),
            *encoded,
            _number(_LINK_LOST, dropped),
            _flags(_LINK_FLAGS, context._flags & WIRE_FLAGS, context.is_remote),
        )
    )


_HEADS = _Memory(_head)

# -- resource.proto, and what holds the spans --------------------------------------------------------------------------

_RESOURCE_SPANS = _tag(1)
_RESOURCE, _SCOPE_SPANS = _tag(1), _tag(2)
_RESOURCE_LOST = _tag(2, _VARINT)
_SCOPE, _SPAN = _tag(1), _tag(2)
_SCOPE_NAME, _SCOPE_VERSION, _SCOPE_LOST = _tag(1), _tag(2), _tag(4, _VARINT)
_SCHEMA_URL = _tag(3)

_OF_RESOURCE, _OF_SCOPE = _AttributeMemory(_tag(1)), _AttributeMemory(_tag(3))

_SPAN_OF_LENGTH = _Memory(lambda length: _SPAN + _varint(length))


class _OwnScope(NamedTuple):
    name: str
    version: str
    schema_url: str
    attributes: Mapping[str, Any]


@functools.cache
def own_scope() -> Scope:
    """The scope of spans that this package's own API made."""
    try:
        version = metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:  # pragma: no cover - run from a copied source tree
        version = ""
    return _OwnScope("kai_tracing_core", version, "", {})


class _Request:
    """The encoded spans by resource and by scope, each in the order of its first span."""

    def __init__(self) -> None:
        self._resources: dict[int, tuple[Mapping[str, Any], dict[int, tuple[Scope, list[bytes]]]]] = {}

    def group(self, resource: Mapping[str, Any], scope: Scope | None) -> list[bytes]:
        """Where the spans of this resource and scope are collected."""
        scope = scope or own_scope()
        _, scopes = self._resources.setdefault(id(resource), (resource, {}))
        return scopes.setdefault(id(scope), (scope, []))[1]

    def encode(self) -> bytes:
        return b"".join(
            _field(_RESOURCE_SPANS, _resource_spans(resource, scopes.values()))
            for resource, scopes in self._resources.values()
        )


def _resource_spans(resource: Mapping[str, Any], scopes: Iterable[tuple[Scope, list[bytes]]]) -> bytes:
    encoded, dropped = _attributes(_OF_RESOURCE, resource)
    parts = [_field(_RESOURCE, b"".join((*encoded, _number(_RESOURCE_LOST, dropped))))]
    parts += [_field(_SCOPE_SPANS, _scope_spans(scope, spans)) for scope, spans in scopes]
    parts.append(_text(_SCHEMA_URL, getattr(resource, "schema_url", "")))
    return b"".join(parts)


def _scope_spans(scope: Scope, spans: list[bytes]) -> bytes:
    encoded, dropped = _attributes(_OF_SCOPE, scope.attributes or {})
    head = (_text(_SCOPE_NAME, scope.name), _text(_SCOPE_VERSION, scope.version))
    described = b"".join((*head, *encoded, _number(_SCOPE_LOST, dropped)))
    return b"".join((_field(_SCOPE, described), *spans, _text(_SCHEMA_URL, scope.schema_url)))


def encode_request(spans: Sequence[Span]) -> bytes:
    """The spans as an OTLP request, grouped by resource and by scope."""
    request = _Request()
    last_sink = last_scope = object()
    add: Callable[[bytes], None]
    for some in slices(spans):
        for span in some:
            sink, scope = span._shared.sink, span._scope
            if sink is not last_sink or scope is not last_scope:
                add = request.group(sink.resource, scope).append
                last_sink, last_scope = sink, scope
            try:
                encoded = _span(span, sink.limits)
            except Exception:
                encoded = _span(span, sink.limits, clean=True)
            add(_SPAN_OF_LENGTH[len(encoded)])
            add(encoded)
    return request.encode()
