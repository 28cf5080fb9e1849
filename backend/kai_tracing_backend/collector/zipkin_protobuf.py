"""Zipkin's v2 protobuf (zipkin-api, zipkin.proto): each span becomes what it is in JSON, and goes the same way."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from kai_tracing_backend.collector.validation import Accepted
from kai_tracing_backend.collector.wire import check_count, fields
from kai_tracing_backend.collector.zipkin import decode_spans
from kai_tracing_backend.columns import SpanColumns

__all__ = ["decode_protobuf"]

_KINDS = (None, "CLIENT", "SERVER", "PRODUCER", "CONSUMER")
_MAX_SPAN = 8 << 20

_Proto = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "zipkin.proto3"
_REPEATED = frozenset(("annotations", "tags"))
_MESSAGES: dict[str, dict[str, tuple[int, Any]]] = {
    "Endpoint": {
        "service_name": (1, _Proto.TYPE_STRING),
        "ipv4": (2, _Proto.TYPE_BYTES),
        "ipv6": (3, _Proto.TYPE_BYTES),
        "port": (4, _Proto.TYPE_INT32),
    },
    "Annotation": {"timestamp": (1, _Proto.TYPE_FIXED64), "value": (2, _Proto.TYPE_STRING)},
    "Tag": {"key": (1, _Proto.TYPE_STRING), "value": (2, _Proto.TYPE_STRING)},
    "Span": {
        "trace_id": (1, _Proto.TYPE_BYTES),
        "parent_id": (2, _Proto.TYPE_BYTES),
        "id": (3, _Proto.TYPE_BYTES),
        "kind": (4, _Proto.TYPE_INT32),  # of an enumeration, which is the same on the wire
        "name": (5, _Proto.TYPE_STRING),
        "timestamp": (6, _Proto.TYPE_FIXED64),
        "duration": (7, _Proto.TYPE_UINT64),
        "local_endpoint": (8, "Endpoint"),
        "remote_endpoint": (9, "Endpoint"),
        "annotations": (10, "Annotation"),
        "tags": (11, "Tag"),  # a map is a list of pairs on the wire
        "debug": (12, _Proto.TYPE_BOOL),
        "shared": (13, _Proto.TYPE_BOOL),
    },
}


def _span_class() -> Any:
    """The runtime's class, in a pool of its own: an application may know these messages, too."""
    file = descriptor_pb2.FileDescriptorProto(name="zipkin.proto", package=_PACKAGE, syntax="proto3")
    for message, described in _MESSAGES.items():
        made = file.message_type.add(name=message)
        for name, (number, kind) in described.items():
            label = _Proto.LABEL_REPEATED if name in _REPEATED else _Proto.LABEL_OPTIONAL
            field = made.field.add(name=name, number=number, label=label)
            if isinstance(kind, str):
                field.type, field.type_name = _Proto.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Span"))


_Span = _span_class()


def decode_protobuf(body: bytes) -> tuple[SpanColumns, Accepted]:
    """The spans of a `ListOfSpans`, the body of `POST /api/v2/spans`.

    Raises:
        ValueError: it is none.
    """
    check_count(memoryview(body))
    spans = (message for number, message in fields(memoryview(body)) if number == 1)
    return decode_spans(spans, lambda message: (_document(message),))


def _document(message: memoryview) -> dict[str, Any]:
    if len(message) > _MAX_SPAN:
        raise ValueError(f"a span of {len(message)} bytes is larger than {_MAX_SPAN}")
    try:
        span = _Span.FromString(bytes(message))
    except DecodeError as error:
        raise ValueError(f"a span is not protobuf: {error}") from error
    return {
        "traceId": _hex(span.trace_id, "traceId", 8, 16),
        "id": _hex(span.id, "id", 8),
        "parentId": _hex(span.parent_id, "parentId", 0, 8),
        "kind": _KINDS[span.kind] if 0 < span.kind < len(_KINDS) else None,
        "name": span.name,
        "timestamp": span.timestamp,
        "duration": span.duration,
        "localEndpoint": _endpoint(span.local_endpoint),
        "remoteEndpoint": _endpoint(span.remote_endpoint),
        "annotations": [{"timestamp": one.timestamp, "value": one.value} for one in span.annotations],
        "tags": {tag.key: tag.value for tag in span.tags},
        "debug": span.debug,
        "shared": span.shared,
    }


def _hex(value: bytes, name: str, *sizes: int) -> str:
    if len(value) not in sizes:
        raise ValueError(f"{name} must have {' or '.join(map(str, sizes))} bytes, not {len(value)}")
    return value.hex()


def _endpoint(endpoint: Any) -> dict[str, Any]:
    document = {"serviceName": endpoint.service_name, "port": endpoint.port}
    for name, address, size in (("ipv4", endpoint.ipv4, 4), ("ipv6", endpoint.ipv6, 16)):
        if address:
            if len(address) != size:
                raise ValueError(f"{name} must have {size} bytes, not {len(address)}")
            document[name] = str(ip_address(address))
    return document
