"""Spans in Zipkin's v2 model (OpenTelemetry specification, "OpenTelemetry to Zipkin Transformation").

py-zipkin's encoders do the encoding; this module makes py-zipkin's spans.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any

from py_zipkin.encoding._encoders import get_encoder
from py_zipkin.encoding._helpers import Endpoint
from py_zipkin.encoding._helpers import Span as ZipkinSpan
from py_zipkin.encoding._types import Encoding as _PyZipkinEncoding
from py_zipkin.encoding._types import Kind

from kai_tracing_core.attributes import AttributeValue
from kai_tracing_core.processing.tags import events_of, in_slices, list_as_json, tags_of, valid_text
from kai_tracing_core.span import Span, SpanKind, SpanStatusCode
from kai_tracing_core.trace_context import DEBUG, PARENT_REMOTE

__all__ = ["Encoding", "ZipkinEncoder", "remote_endpoint"]


class Encoding(str, Enum):
    """How spans are encoded; both are Zipkin's version 2."""

    JSON = "json"
    PROTOBUF = "protobuf"


_CONTENT_TYPES = {Encoding.JSON: "application/json", Encoding.PROTOBUF: "application/x-protobuf"}
_PY_ZIPKIN = {Encoding.JSON: _PyZipkinEncoding.V2_JSON, Encoding.PROTOBUF: _PyZipkinEncoding.V2_PROTO3}
_KINDS = (Kind.LOCAL, Kind.SERVER, Kind.CLIENT, Kind.PRODUCER, Kind.CONSUMER)
_CALLS_OTHERS = frozenset((SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER))

# The specification's ranking; the last names say at least what kind of system it is.
_REMOTE_NAMES = (
    "peer.service",
    "server.address",
    "net.peer.name",
    "server.socket.domain",
    "net.sock.peer.name",
    "peer.hostname",
    "peer.address",
    "db.namespace",
    "db.name",
    "db.system.name",
    "db.system",
    "messaging.system",
)
_REMOTE_ADDRESSES = (
    ("network.peer.address", "network.peer.port"),
    ("server.socket.address", "server.socket.port"),
    ("net.sock.peer.addr", "net.sock.peer.port"),
    ("server.address", "server.port"),
    ("net.peer.name", "net.peer.port"),
)
# Zipkin has no place for a resource; of its attributes these tell spans of one service apart.
_RESOURCE_TAGS = ("service.namespace", "service.version", "deployment.environment.name")


class _Annotations(list[tuple[str, float]]):
    """Annotations as py-zipkin reads them; unlike the dictionary it expects, one name may occur several times."""

    def items(self) -> _Annotations:
        return self


class ZipkinEncoder:
    """Encodes batches. `ip` and `port` are the local endpoint's; `shared` marks joined server spans."""

    def __init__(
        self, encoding: Encoding = Encoding.JSON, *, ip: str | None = None, port: int = 0, shared: bool = False
    ) -> None:
        self.content_type = _CONTENT_TYPES[encoding]
        self._is_json = encoding is Encoding.JSON
        self._encoder = get_encoder(_PY_ZIPKIN[encoding])
        self._address = _addresses(ip), port
        self._shared = shared
        self._resource: Mapping[str, AttributeValue] | None = None
        self._local = Endpoint(None, None, None, None)
        self._resource_tags: dict[str, str] = {}

    def encode(self, spans: Sequence[Span]) -> bytes:
        """The spans as one request body."""
        encoded = self._encoder.encode_queue([self._encode(span) for span in in_slices(spans)])
        return encoded.encode() if isinstance(encoded, str) else encoded

    def _encode(self, span: Span) -> str | bytes:
        zipkin_span = self.convert(span)
        encoded = self._encoder.encode_span(zipkin_span)
        # py-zipkin's JSON leaves the flag out.
        return f'{encoded[:-1]}, "debug": true}}' if zipkin_span.debug and isinstance(encoded, str) else encoded

    def convert(self, span: Span) -> ZipkinSpan:
        """The span in py-zipkin's model."""
        if span._sink.resource is not self._resource:
            self._describe(span._sink.resource)
        tags = tags_of(span)
        kind = span.kind
        remote = remote_endpoint(tags) if kind in _CALLS_OTHERS else None
        if span._status == SpanStatusCode.ERROR:
            tags["error"] = valid_text(span.status_message or "")
        elif tags.get("error") in (False, "false"):
            # Zipkin takes any error tag, whatever it says, for a failure.
            del tags["error"]
        return ZipkinSpan(
            # A trace that began with a 64-bit id is found by that.
            trace_id=f"{span._trace_id:032x}" if span._trace_id >> 64 else f"{span._trace_id:016x}",
            span_id=f"{span._span_id:016x}",
            parent_id=f"{span._parent_id:016x}" if span._parent_id else None,
            name=valid_text(span.name),
            kind=_KINDS[kind],
            timestamp=_seconds(span._start // 1000),
            duration=_seconds(max(1, (span._end - span._start) // 1000)),
            local_endpoint=self._local,
            remote_endpoint=remote,
            debug=span._flags & DEBUG != 0,
            shared=self._shared and kind == SpanKind.SERVER and span._flags & PARENT_REMOTE != 0,
            annotations=self._annotations(span) if span._events else None,  # type: ignore[arg-type] # see _Annotations
            tags={**self._resource_tags, **{key: _text(value) for key, value in tags.items()}},
        )

    def _annotations(self, span: Span) -> _Annotations:
        annotations = _Annotations()
        for name, at, attributes in events_of(span):
            value = f"{json.dumps(name)}: {json.dumps(attributes, ensure_ascii=False)}" if attributes else name
            annotations.append((value, _seconds(at // 1000)))
        return annotations

    def _describe(self, resource: Mapping[str, AttributeValue]) -> None:
        (ipv4, ipv6), port = self._address
        self._local = Endpoint(str(resource.get("service.name", "unknown_service")), ipv4, ipv6, port)
        self._resource_tags = {key: _text(resource[key]) for key in _RESOURCE_TAGS if key in resource}
        self._resource = resource


def remote_endpoint(attributes: Mapping[str, Any]) -> Endpoint | None:
    """Whom a span calls, by its attributes: what Zipkin draws its dependency graph from."""
    name: Any = None
    for key in _REMOTE_NAMES:
        # An address is no service; one has a field of its own.
        if (value := attributes.get(key)) and not any(_addresses(str(value))):
            name = value
            break
    address: Any = None
    port: Any = None
    for address_key, port_key in _REMOTE_ADDRESSES:
        if address := attributes.get(address_key):
            port = attributes.get(port_key)
            break
    if name is None and address is None:
        return None
    ipv4, ipv6 = _addresses(str(address or ""))
    return Endpoint(name and str(name), ipv4, ipv6, port if isinstance(port, int) and 0 < port < 65536 else None)


@lru_cache(maxsize=1024)
def _addresses(address: str | None) -> tuple[str | None, str | None]:
    """The address as version 4 and version 6: at most one of them."""
    for position, family in enumerate((socket.AF_INET, socket.AF_INET6)):
        try:
            socket.inet_pton(family, address or "")
        except (OSError, ValueError):
            continue
        return (None, address) if position else (address, None)
    return None, None


def _seconds(microseconds: int) -> float:
    """Such seconds that py-zipkin, which truncates, arrives at the same microseconds again."""
    return (microseconds + 0.5) / 1_000_000


def _text(value: AttributeValue) -> str:
    kind = type(value)
    if kind is str:
        return value  # type: ignore[return-value] # the check narrows only an isinstance
    if kind is bool:
        return "true" if value else "false"
    return list_as_json(value) if kind is list else str(value)
