"""Spans in Zipkin's v2 model (OpenTelemetry specification, "OpenTelemetry to Zipkin Transformation").

The protobuf is py-zipkin's encoder's, of py-zipkin's spans. The JSON is made here, since going through those spans
takes longer than all else that happens to a span (docs/adr/0010).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any

from py_zipkin.encoding._encoders import get_encoder
from py_zipkin.encoding._helpers import Endpoint
from py_zipkin.encoding._helpers import Span as ZipkinSpan
from py_zipkin.encoding._types import Encoding as _PyZipkinEncoding
from py_zipkin.encoding._types import Kind

from kai_tracing_core.attributes import AttributeValue
from kai_tracing_core.processing.tags import events_of, in_slices, list_as_json, slices, tags_of, valid_text
from kai_tracing_core.span import Span, SpanKind, SpanStatusCode
from kai_tracing_core.trace_context import DEBUG

__all__ = ["Encoding", "ZipkinEncoder", "remote_endpoint"]


class Encoding(str, Enum):
    """How spans are encoded; both are Zipkin's version 2."""

    JSON = "json"
    PROTOBUF = "protobuf"


_CONTENT_TYPES = {Encoding.JSON: "application/json", Encoding.PROTOBUF: "application/x-protobuf"}
_dump = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
_KINDS = (Kind.LOCAL, Kind.SERVER, Kind.CLIENT, Kind.PRODUCER, Kind.CONSUMER)
_KIND_NAMES = tuple(kind.value for kind in _KINDS)
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
        self._protobuf = get_encoder(_PyZipkinEncoding.V2_PROTO3)
        self._address = _addresses(ip), port
        self._shared = shared
        self._resource: Mapping[str, AttributeValue] | None = None
        self._local = Endpoint(None, None, None, None)
        self._local_document: dict[str, Any] = {}
        self._resource_tags: dict[str, str] = {}

    def encode(self, spans: Sequence[Span]) -> bytes:
        """The spans as one request body."""
        if self._is_json:
            documents = [_dump([self.document(span) for span in some])[1:-1] for some in slices(spans)]
            return f"[{','.join(documents)}]".encode()
        protobuf = self._protobuf
        encoded = protobuf.encode_queue([protobuf.encode_span(self.convert(span)) for span in in_slices(spans)])
        return encoded.encode() if isinstance(encoded, str) else encoded

    def document(self, span: Span) -> dict[str, Any]:
        """The span as `/api/v2/spans` takes it in JSON (zipkin-api, zipkin2-api.yaml, "Span")."""
        tags, remote = self._tags(span)
        document = {
            "traceId": _trace_id(span),
            "id": f"{span._span_id:016x}",
            "timestamp": span._start // 1000,
            "duration": max(1, (span._end - span._start) // 1000),
            "localEndpoint": self._local_document,
        }
        if span.name:
            document["name"] = valid_text(span.name)
        if span._parent_id:
            document["parentId"] = f"{span._parent_id:016x}"
        if span._kind:
            document["kind"] = _KIND_NAMES[span._kind]
        if remote is not None:
            document["remoteEndpoint"] = _endpoint(remote)
        if tags:
            document["tags"] = tags
        if span._rare is not None and span._rare.events:
            document["annotations"] = [{"timestamp": at, "value": value} for value, at in self._notes(span)]
        if span._shared.flags & DEBUG:
            document["debug"] = True
        if self._shared and self._is_shared(span):
            document["shared"] = True
        return document

    def convert(self, span: Span) -> ZipkinSpan:
        """The span in py-zipkin's model."""
        tags, remote = self._tags(span)
        return ZipkinSpan(
            trace_id=_trace_id(span),
            span_id=f"{span._span_id:016x}",
            parent_id=f"{span._parent_id:016x}" if span._parent_id else None,
            name=valid_text(span.name),
            kind=_KINDS[span._kind],
            timestamp=_seconds(span._start // 1000),
            duration=_seconds(max(1, (span._end - span._start) // 1000)),
            local_endpoint=self._local,
            remote_endpoint=remote,
            debug=span._shared.flags & DEBUG != 0,
            shared=self._is_shared(span),
            annotations=_Annotations(  # type: ignore[arg-type] # see _Annotations
                (value, _seconds(at)) for value, at in self._notes(span)
            ),
            tags={**tags},
        )

    def _tags(self, span: Span) -> tuple[dict[str, str], Endpoint | None]:
        """The tags as text, and whom the span calls."""
        resource = span._shared.sink.resource
        if resource is not self._resource:
            self._describe(resource)
        tags = tags_of(span)
        remote = remote_endpoint(tags) if span._kind in _CALLS_OTHERS else None
        rare = span._rare
        if rare is not None and rare.status == SpanStatusCode.ERROR:
            tags["error"] = valid_text(rare.message or "")
        elif "error" in tags and tags["error"] in (False, "false"):
            # Zipkin takes any error tag, whatever it says, for a failure.
            del tags["error"]
        texts = {**self._resource_tags}
        for key, value in tags.items():
            texts[key] = value if type(value) is str else _text(value)
        return texts, remote

    def _is_shared(self, span: Span) -> bool:
        return self._shared and span._kind == SpanKind.SERVER and span.has_remote_parent

    def _notes(self, span: Span) -> Iterator[tuple[str, int]]:
        """The events as annotations: what they say, and when, in microseconds."""
        for name, at, attributes in events_of(span):
            value = f"{json.dumps(name)}: {json.dumps(attributes, ensure_ascii=False)}" if attributes else name
            yield value, at // 1000

    def _describe(self, resource: Mapping[str, AttributeValue]) -> None:
        (ipv4, ipv6), port = self._address
        self._local = Endpoint(str(resource.get("service.name", "unknown_service")), ipv4, ipv6, port)
        self._local_document = _endpoint(self._local)
        self._resource_tags = {key: _text(resource[key]) for key in _RESOURCE_TAGS if key in resource}
        self._resource = resource


def _trace_id(span: Span) -> str:
    """A trace that began with a 64-bit id is found by that."""
    return f"{span._trace_id:032x}" if span._trace_id >> 64 else f"{span._trace_id:016x}"


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    said = {
        "serviceName": endpoint.service_name,
        "ipv4": endpoint.ipv4,
        "ipv6": endpoint.ipv6,
        "port": endpoint.port,
    }
    return {key: value for key, value in said.items() if value}


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
