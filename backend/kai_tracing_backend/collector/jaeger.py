"""Jaeger's thrift model, straight into columns (jaeger-idl, jaeger.thrift and agent.thrift).

What OpenTelemetry's specification makes of a span for Jaeger ("OpenTelemetry to Jaeger Transformation") is made again
what it was: kind, status, scope and trace state are tags there, a process is a resource, a log an event, a reference
that is not the parent a link.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from thrift.Thrift import TType

from kai_tracing_backend.collector.thrift import (
    Struct,
    binary,
    list_of,
    one_of,
    read,
    read_message,
    scalar,
    text,
)
from kai_tracing_backend.collector.validation import (
    UNKNOWN_SERVICE,
    Accepted,
    check_attributes,
    check_ids,
    check_times,
    check_too_many,
    weight,
)
from kai_tracing_backend.columns import SpanColumns, dump_events, dump_links, dump_resource, dump_scope
from kai_tracing_backend.model import Scope, SpanEvent, SpanLink
from kai_tracing_backend.values import Value

__all__ = ["decode", "decode_packet"]

_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUSES = {"OK": 1, "ERROR": 2}
_CHILD_OF = 0
_SAMPLED, _DEBUG = 1, 2
_MICROSECOND = 1_000
_NO_SCOPE = dump_scope(Scope())


# -- the model ---------------------------------------------------------------------------------------------------------


class _Tag(Struct):
    """A pair of key and value."""

    thrift_spec = (
        None,
        text(1, "key"),
        scalar(2, TType.I32, "kind"),
        text(3, "string"),
        scalar(4, TType.DOUBLE, "double"),
        scalar(5, TType.BOOL, "boolean"),
        scalar(6, TType.I64, "long"),
        binary(7, "binary"),
    )

    def __new__(
        cls,
        key: str,
        kind: int,
        string: str = "",
        double: float = 0.0,
        boolean: bool = False,
        long: int = 0,
        binary: bytes = b"",
    ) -> Any:
        return key, (string, double, boolean, long, binary)[kind] if 0 <= kind <= 4 else None


class _Log(Struct):
    """A time in microseconds, and what was logged."""

    thrift_spec = (None, scalar(1, TType.I64, "timestamp"), list_of(2, "fields", _Tag))

    def __new__(cls, timestamp: int, fields: list[Any]) -> Any:
        return timestamp, fields


class _Reference(Struct):
    """What kind of reference, and to which span."""

    thrift_spec = (
        None,
        scalar(1, TType.I32, "kind"),
        scalar(2, TType.I64, "trace_low"),
        scalar(3, TType.I64, "trace_high"),
        scalar(4, TType.I64, "span_id"),
    )

    def __new__(cls, kind: int, trace_low: int, trace_high: int, span_id: int) -> Any:
        return kind, struct.pack(">qq", trace_high, trace_low), struct.pack(">q", span_id)


class _Span(NamedTuple):
    trace_low: int
    trace_high: int
    span: int
    parent: int
    name: str
    flags: int
    start: int
    duration: int
    references: Sequence[tuple[int, bytes, bytes]] = ()
    tags: Sequence[tuple[str, Value]] = ()
    logs: Sequence[tuple[int, Sequence[tuple[str, Value]]]] = ()


class _ThriftSpan(_Span, Struct):
    """A span; times are microseconds."""

    thrift_spec = (
        None,
        scalar(1, TType.I64, "trace_low"),
        scalar(2, TType.I64, "trace_high"),
        scalar(3, TType.I64, "span"),
        scalar(4, TType.I64, "parent"),
        text(5, "name"),
        list_of(6, "references", _Reference),
        scalar(7, TType.I32, "flags"),
        scalar(8, TType.I64, "start"),
        scalar(9, TType.I64, "duration"),
        list_of(10, "tags", _Tag),
        list_of(11, "logs", _Log),
    )


class _Process(Struct):
    """Who sent the spans."""

    thrift_spec = (None, text(1, "service"), list_of(2, "tags", _Tag))

    def __new__(cls, service: str, tags: Sequence[Any] = ()) -> Any:
        return service, tags


class _Batch(Struct):
    """The spans of a process."""

    thrift_spec = (None, one_of(1, "process", _Process), list_of(2, "spans", _ThriftSpan))

    def __new__(cls, process: Any, spans: list[_Span]) -> Any:
        return process, spans


class _EmitBatch(Struct):
    """The arguments of the agent's `emitBatch`."""

    thrift_spec = (None, one_of(1, "batch", _Batch))

    def __new__(cls, batch: Any) -> Any:
        return batch


# -- into columns ------------------------------------------------------------------------------------------------------


def decode(body: bytes) -> tuple[SpanColumns, Accepted]:
    """The spans of a `Batch` in the binary protocol, the body of `POST /api/traces`.

    Raises:
        ValueError: it is none.
    """
    columns, accepted = SpanColumns(), Accepted()
    _add_batch(columns, accepted, read(_Batch, body))
    return columns, accepted


def decode_packet(columns: SpanColumns, accepted: Accepted, packet: bytes, *, compact: bool) -> None:
    """Add the spans of a packet for Jaeger's agent, which come in the compact or in the binary protocol.

    Raises:
        ValueError: it is no call of `emitBatch` in this protocol; nothing was added.
    """
    _add_batch(columns, accepted, read_message(_EmitBatch, "emitBatch", packet, compact=compact))


def _add_batch(columns: SpanColumns, accepted: Accepted, batch: Any) -> None:
    (service, tags), spans = batch
    service = service or UNKNOWN_SERVICE
    resource = {**dict(tags), "service.name": service}
    try:
        check_attributes(resource)
    except ValueError as error:
        accepted.reject(f"process: {error}", len(spans))
        return
    resource_text = dump_resource(resource)
    for span in spans:
        try:
            _add(columns, span, service, resource_text)
        except ValueError as error:
            accepted.reject(error)


def _add(columns: SpanColumns, span: _Span, service: str, resource: str) -> None:
    trace_id, span_id = struct.pack(">qq", span.trace_high, span.trace_low), struct.pack(">q", span.span)
    parent_id = struct.pack(">q", span.parent) if span.parent else _parent(span, trace_id)
    check_ids(trace_id, span_id, parent_id)
    start, duration = span.start * _MICROSECOND, span.duration * _MICROSECOND
    check_times(start, start + duration)
    attributes = dict(span.tags)
    scope = _scope(attributes)
    kind = _KINDS.get(_pop(attributes, "span.kind").lower(), 0)
    status, message = _status(attributes)
    trace_state = _pop(attributes, "w3c.tracestate")
    if span.flags & _DEBUG:
        attributes["jaeger.debug"] = True
    check_attributes(attributes)
    check_too_many(len(span.logs), len(span.references), span.name, message, trace_state)
    parent = (_CHILD_OF, trace_id, parent_id)
    fields = (
        int.from_bytes(parent_id, "big"),
        start,
        duration,
        span.name,
        kind,
        status,
        message,
        trace_state,
        span.flags & _SAMPLED,
        weight(trace_state, trace_id, attributes),
        dump_events([_event(*log) for log in span.logs]),
        dump_links([_link(*reference) for reference in span.references if reference != parent]),
        0,
        0,
        0,
    )
    columns.origin(service, resource, scope)
    columns.add(trace_id, span_id, fields, attributes)


def _parent(span: _Span, trace_id: bytes) -> bytes:
    """The parent that is told as a reference only: whose child it is, or else what it follows."""
    own = [(kind, span_id) for kind, of_trace, span_id in span.references if of_trace == trace_id]
    return min(own, key=itemgetter(0))[1] if own else b""


def _link(kind: int, trace_id: bytes, span_id: bytes) -> SpanLink:
    attributes = {"opentracing.ref_type": "child_of" if kind == _CHILD_OF else "follows_from"}
    return SpanLink(trace_id.hex(), span_id.hex(), "", attributes)


def _pop(attributes: dict[str, Value], key: str) -> str:
    """Take out a text; what is none stays."""
    return str(attributes.pop(key)) if isinstance(attributes.get(key), str) else ""


def _scope(attributes: dict[str, Value]) -> str:
    name = _pop(attributes, "otel.scope.name") or _pop(attributes, "otel.library.name")
    version = _pop(attributes, "otel.scope.version") or _pop(attributes, "otel.library.version")
    return dump_scope(Scope(name, version)) if name or version else _NO_SCOPE


def _status(attributes: dict[str, Value]) -> tuple[int, str]:
    """By the tag `error`, else by `otel.status_code`."""
    status = _STATUSES.get(_pop(attributes, "otel.status_code").upper(), 0)
    if attributes.get("error") in (True, "true"):
        del attributes["error"]
        status = 2
    return status, _pop(attributes, "otel.status_description") if status == 2 else ""


def _event(timestamp: int, pairs: Sequence[tuple[str, Value]]) -> SpanEvent:
    attributes = dict(pairs)
    name = _pop(attributes, "event")
    check_attributes(attributes)
    return SpanEvent(timestamp * _MICROSECOND, name, attributes)
