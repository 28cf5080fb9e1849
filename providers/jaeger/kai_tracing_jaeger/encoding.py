"""Spans in Jaeger's thrift model (OpenTelemetry specification, "OpenTelemetry to Jaeger Transformation").

The model is jaeger-client's, the encoding thrift's. Every span is encoded once, by itself, so that the size of a
packet is known before it is made, and a span that cannot be encoded does not take others along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from jaeger_client.thrift_gen.jaeger import ttypes
from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.protocol.TCompactProtocol import TCompactProtocolAccelerated
from thrift.Thrift import TMessageType, TType
from thrift.transport.TTransport import TMemoryBuffer

from kai_tracing_core.attributes import AttributeValue, clean_attributes
from kai_tracing_core.processing.processor import TooLarge
from kai_tracing_core.processing.tags import events_of, in_slices, list_as_json, tags_of, valid_text
from kai_tracing_core.span import Link, Span, SpanKind, SpanStatusCode
from kai_tracing_core.trace_context import DEBUG, SAMPLED

__all__ = ["JaegerEncoder"]

_KINDS = {
    SpanKind.SERVER: "server",
    SpanKind.CLIENT: "client",
    SpanKind.PRODUCER: "producer",
    SpanKind.CONSUMER: "consumer",
}
_FLAG_SAMPLED, _FLAG_DEBUG = 1, 2
_ENVELOPE = 64
"""Bytes that a packet needs beside the process and the spans, and some to spare."""

_STRING, _BOOL, _LONG, _DOUBLE = (
    ttypes.TagType.STRING,
    ttypes.TagType.BOOL,
    ttypes.TagType.LONG,
    ttypes.TagType.DOUBLE,
)


class JaegerEncoder:
    """Encodes batches in thrift's binary protocol or, `compact`, as the agent wants it."""

    def __init__(self, *, compact: bool = False) -> None:
        self._protocol: Callable[[Any], Any] = TCompactProtocolAccelerated if compact else TBinaryProtocolAccelerated
        self._sequence = 0
        self._resource: Mapping[str, AttributeValue] | None = None
        self._process = b""

    def encode(self, spans: Sequence[Span]) -> bytes:
        """The spans as one `Batch`, which is a request's body for the collector."""
        buffer = TMemoryBuffer()
        protocol = self._protocol(buffer)
        self._write_batch(protocol, self._describe(spans[0]), [self.encode_span(span) for span in in_slices(spans)])
        return bytes(buffer.getvalue())

    def packets(self, spans: Sequence[Span], limit: int) -> Iterator[bytes]:
        """The spans as calls of the agent's `emitBatch`, of at most `limit` bytes each.

        Raises:
            TooLarge: one of the spans alone takes more.
        """
        process = self._describe(spans[0])
        room = limit - len(process) - _ENVELOPE
        encoded = [self.encode_span(span) for span in in_slices(spans)]
        largest = max(map(len, encoded))
        if largest > room:
            raise TooLarge(f"a span of {largest} bytes does not fit into a packet of {limit}")
        packet: list[bytes] = []
        size = 0
        for span in encoded:
            if size + len(span) > room:
                yield self._emit_batch(process, packet)
                packet, size = [], 0
            packet.append(span)
            size += len(span)
        yield self._emit_batch(process, packet)

    def encode_span(self, span: Span) -> bytes:
        """One span as a thrift struct."""
        return self._encode(_convert(span))

    def _describe(self, span: Span) -> bytes:
        """The process that made the spans: those of one exporter have one resource."""
        resource = span._shared.sink.resource
        if resource is not self._resource:
            attributes, _ = clean_attributes(resource, limit=1 << 31)
            service = attributes.pop("service.name", "unknown_service")
            process = ttypes.Process(serviceName=valid_text(service), tags=_tags(attributes))
            self._process = self._encode(process)
            self._resource = resource
        return self._process

    def _encode(self, struct: Any) -> bytes:
        protocol = self._protocol(TMemoryBuffer())
        # Where thrift was built without its C extension.
        if protocol._fast_encode is None:
            struct.write(protocol)
            return bytes(protocol.trans.getvalue())
        kind: Any = type(struct)
        return protocol._fast_encode(struct, _layout(kind))  # type: ignore[no-any-return] # untyped

    def _emit_batch(self, process: bytes, spans: Sequence[bytes]) -> bytes:
        self._sequence = (self._sequence + 1) & 0x7FFFFFFF
        buffer = TMemoryBuffer()
        protocol = self._protocol(buffer)
        protocol.writeMessageBegin("emitBatch", TMessageType.ONEWAY, self._sequence)
        protocol.writeStructBegin("emitBatch_args")
        protocol.writeFieldBegin("batch", TType.STRUCT, 1)
        self._write_batch(protocol, process, spans)
        protocol.writeFieldEnd()
        protocol.writeFieldStop()
        protocol.writeStructEnd()
        protocol.writeMessageEnd()
        return bytes(buffer.getvalue())

    def _write_batch(self, protocol: Any, process: bytes, spans: Sequence[bytes]) -> None:
        """A `Batch` struct around what is encoded already."""
        write = protocol.trans.write
        protocol.writeStructBegin("Batch")
        protocol.writeFieldBegin("process", TType.STRUCT, 1)
        write(process)
        protocol.writeFieldEnd()
        protocol.writeFieldBegin("spans", TType.LIST, 2)
        protocol.writeListBegin(TType.STRUCT, len(spans))
        write(b"".join(spans))
        protocol.writeListEnd()
        protocol.writeFieldEnd()
        protocol.writeFieldStop()
        protocol.writeStructEnd()


@cache
def _layout(struct: Any) -> list[Any]:
    """How thrift's C extension wants a struct described; jaeger-client's code is of an older generator."""
    fields = (field and (*field[:3], _type_of(field[1], field[3]), field[4]) for field in struct.thrift_spec)
    return [struct, tuple(fields)]


def _type_of(kind: int, details: Any) -> Any:
    if kind == TType.STRUCT:
        return _layout(details[0])
    if kind == TType.LIST:
        return details[0], _type_of(*details), False
    return details


def _convert(span: Span) -> Any:
    tags = tags_of(span)
    if span.kind:
        tags["span.kind"] = _KINDS[span.kind]
    rare = span._rare
    if rare is not None and rare.status == SpanStatusCode.ERROR:
        tags["error"] = True
        if rare.message:
            tags["otel.status_description"] = valid_text(rare.message)
    flags = span._shared.flags
    return ttypes.Span(
        traceIdLow=_signed(span._trace_id),
        traceIdHigh=_signed(span._trace_id >> 64),
        spanId=_signed(span._span_id),
        parentSpanId=_signed(span._parent_id),
        operationName=valid_text(span.name),
        references=[_reference(link) for link in span._links] if span._links else None,
        flags=(_FLAG_SAMPLED if flags & SAMPLED else 0) | (_FLAG_DEBUG if flags & DEBUG else 0),
        startTime=span._start // 1000,
        duration=(span._end - span._start) // 1000,
        tags=_tags(tags),
        logs=[_log(*event) for event in events_of(span)] if span._events else None,
    )


def _signed(number: int) -> int:
    """The low 64 bits as thrift's signed integer."""
    return ((number & 0xFFFFFFFFFFFFFFFF) ^ 0x8000000000000000) - 0x8000000000000000


def _reference(link: Link) -> Any:
    context = link.context
    return ttypes.SpanRef(
        ttypes.SpanRefType.FOLLOWS_FROM,
        _signed(context._trace_id),
        _signed(context._trace_id >> 64),
        _signed(context._span_id),
    )


def _log(name: str, at: int, attributes: Mapping[str, Any]) -> Any:
    # An attribute of that name goes before the event's own.
    return ttypes.Log(at // 1000, _tags({"event": name, **attributes}))


def _tags(attributes: Mapping[str, AttributeValue]) -> list[Any]:
    """Tags of cleaned attributes, whose integers therefore have 64 bits at most."""
    tag: Any = ttypes.Tag
    tags = []
    for key, value in attributes.items():
        kind = type(value)
        if kind is str:
            tags.append(tag(key, _STRING, value))
        elif kind is bool:
            tags.append(tag(key, _BOOL, None, None, value))
        elif kind is int:
            tags.append(tag(key, _LONG, None, None, None, value))
        elif kind is float:
            tags.append(tag(key, _DOUBLE, None, value))
        else:
            tags.append(tag(key, _STRING, list_as_json(value)))
    return tags
