"""What the backends would see: the spans of a request, whichever format they came in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as a backend decoded it; `raw` is the format's own object (a dict, or a message)."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    service: str
    raw: Any


def decode(path: str, content_type: str, body: bytes) -> list[ReceivedSpan]:
    """The spans of a request to Zipkin's, Jaeger's or an OTLP receiver's path. Raises ValueError on what is none."""
    path = urlsplit(path).path
    if path.endswith("/api/v2/spans"):
        return decode_zipkin_json(body) if "json" in content_type else decode_zipkin_protobuf(body)
    if path.endswith("/api/traces"):
        return decode_jaeger_batch(body)
    if path.endswith("/v1/traces"):
        return decode_otlp(body, "json" in content_type)
    raise ValueError(f"no receiver at {path}")


def decode_zipkin_json(body: bytes) -> list[ReceivedSpan]:
    """Zipkin v2 JSON."""
    return [
        ReceivedSpan(
            span["traceId"],
            span["id"],
            span.get("parentId"),
            span.get("name", ""),
            span.get("localEndpoint", {}).get("serviceName", ""),
            span,
        )
        for span in json.loads(body)
    ]


def decode_zipkin_protobuf(body: bytes) -> list[ReceivedSpan]:
    """Zipkin v2 protobuf (`ListOfSpans`)."""
    from py_zipkin.encoding.protobuf import zipkin_pb2

    return [
        ReceivedSpan(
            span.trace_id.hex(),
            span.id.hex(),
            span.parent_id.hex() or None,
            span.name,
            span.local_endpoint.service_name,
            span,
        )
        for span in zipkin_pb2.ListOfSpans.FromString(body).spans
    ]


def decode_otlp(body: bytes, is_json: bool) -> list[ReceivedSpan]:
    """OTLP's `ExportTraceServiceRequest`; in JSON, ids are in hexadecimal, against protobuf's own rule."""
    if is_json:
        return _decode_otlp_json(json.loads(body))
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    return [
        ReceivedSpan(
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex() or None,
            span.name,
            next((a.value.string_value for a in group.resource.attributes if a.key == "service.name"), ""),
            span,
        )
        for group in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _decode_otlp_json(request: dict[str, Any]) -> list[ReceivedSpan]:
    spans = []
    for group in request["resourceSpans"]:
        attributes = {a["key"]: a["value"] for a in group.get("resource", {}).get("attributes", ())}
        service = attributes.get("service.name", {}).get("stringValue", "")
        for scope in group["scopeSpans"]:
            for span in scope["spans"]:
                parent = span.get("parentSpanId") or None
                spans.append(ReceivedSpan(span["traceId"], span["spanId"], parent, span["name"], service, span))
    return spans


def decode_jaeger_batch(body: bytes) -> list[ReceivedSpan]:
    """Jaeger's `Batch` in thrift's binary protocol, as the collector takes it over HTTP."""
    from jaeger_client.thrift_gen.jaeger import ttypes
    from thrift.protocol.TBinaryProtocol import TBinaryProtocol
    from thrift.transport.TTransport import TMemoryBuffer

    batch = ttypes.Batch()
    batch.read(TBinaryProtocol(TMemoryBuffer(body)))
    return _jaeger_spans(batch)


def decode_jaeger_datagram(body: bytes) -> list[ReceivedSpan]:
    """The agent's `emitBatch` call in thrift's compact protocol, as it takes it over UDP."""
    from jaeger_client.thrift_gen.agent import Agent
    from thrift.protocol.TCompactProtocol import TCompactProtocol
    from thrift.Thrift import TMessageType
    from thrift.transport.TTransport import TMemoryBuffer

    protocol = TCompactProtocol(TMemoryBuffer(body))
    name, kind, _ = protocol.readMessageBegin()
    if (name, kind) != ("emitBatch", TMessageType.ONEWAY):
        raise ValueError(f"unexpected message {name!r} of type {kind}")
    arguments = Agent.emitBatch_args()
    arguments.read(protocol)
    protocol.readMessageEnd()
    return _jaeger_spans(arguments.batch)


def _jaeger_spans(batch: Any) -> list[ReceivedSpan]:
    mask = 2**64 - 1
    spans = []
    for span in batch.spans:
        span.process = batch.process
        parent = f"{span.parentSpanId & mask:016x}" if span.parentSpanId else None
        trace_id = f"{span.traceIdHigh & mask:016x}{span.traceIdLow & mask:016x}"
        service = batch.process.serviceName
        spans.append(ReceivedSpan(trace_id, f"{span.spanId & mask:016x}", parent, span.operationName, service, span))
    return spans
