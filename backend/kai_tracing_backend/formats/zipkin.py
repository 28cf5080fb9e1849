"""Spans as Zipkin's v2 JSON (zipkin-api, zipkin2-api.yaml), the way back of `collector.zipkin`.

What Zipkin has no place for follows OpenTelemetry's specification, "OpenTelemetry to Zipkin": attributes, those of the
resource, scope and status become tags, an event with attributes becomes an annotation `"name": {…}`, links are lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from kai_tracing_backend.columns import NO_TIMESTAMP, SHARED
from kai_tracing_backend.formats.telling import telling
from kai_tracing_backend.model import SpanEvent, StoredSpan
from kai_tracing_backend.values import Value, plain

__all__ = ["NO_TAGS", "span_document", "trace_id", "trace_document"]

KINDS = {2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
DEBUG = "zipkin.debug"
"""The attribute that keeps Zipkin's `debug`."""

# Whom a span calls where `peer.service` does not say it: the specification's ranking, and what kind of system it is.
_REMOTE_NAMES = (
    "server.address",
    "net.peer.name",
    "db.namespace",
    "db.name",
    "db.system.name",
    "db.system",
    "messaging.system",
)
# The attributes that keep Zipkin's endpoints, by what they are there.
_REMOTE = {
    "peer.service": ("serviceName",),
    "network.peer.address": ("ipv4", "ipv6"),
    "network.peer.port": ("port",),
}
_LOCAL = {"network.local.address": ("ipv4", "ipv6"), "network.local.port": ("port",)}
_MARKS = (DEBUG, NO_TIMESTAMP)
NO_TAGS = frozenset(("service.name", *_REMOTE, *_LOCAL, *_MARKS))
"""Attributes that are no tags to Zipkin, but fields."""

_CALLS = frozenset((3, 4, 5))


def trace_document(spans: Iterable[StoredSpan]) -> list[dict[str, Any]]:
    """The spans as `GET /api/v2/trace/{id}` gives them, each with a tag where it stands for more than itself."""
    return [span_document(span) for span in telling(spans, stateless=True)]


def span_document(span: StoredSpan) -> dict[str, Any]:
    """A span; times are whole microseconds. A duration of 0 is one that nobody told, and is left out.

    So is a timestamp that the sender did not say, and that a span without kind shares an id, which is a guess as well.
    """
    untimed = span.attributes.get(NO_TIMESTAMP) is True
    local, remote = {"serviceName": span.service, **_host(span, "network.local")}, _remote(span)
    document = {
        "traceId": trace_id(span.trace_id),
        "parentId": span.parent_id,
        "id": span.span_id,
        "kind": KINDS.get(span.kind),
        "name": span.name,
        "timestamp": None if untimed else span.start_time // 1_000,
        "duration": max(1, span.duration // 1_000) if span.duration else None,
        "localEndpoint": local,
        "remoteEndpoint": remote,
        "annotations": [_annotation(event) for event in span.events],
        "tags": _tags(span, local, remote),
        "debug": True if span.attributes.get(DEBUG) is True else None,
        "shared": True if span.flags & SHARED and (span.kind or not untimed) else None,
    }
    return {name: value for name, value in document.items() if value}


def trace_id(full: str) -> str:
    """A trace id as Zipkin knows it: one that began with 64 bits has 16 digits."""
    return full.removeprefix("0" * 16)


def _remote(span: StoredSpan) -> dict[str, Any]:
    attributes = span.attributes
    name = attributes.get("peer.service")
    if not name and span.kind in _CALLS:
        name = next((found for key in _REMOTE_NAMES if _is_name(found := attributes.get(key))), None)
    endpoint: dict[str, Any] = {"serviceName": name} if isinstance(name, str) else {}
    return {**endpoint, **_host(span, "network.peer")}


def _host(span: StoredSpan, prefix: str) -> dict[str, Any]:
    address, port = (span.attributes.get(f"{prefix}.{part}") for part in ("address", "port"))
    known = type(port) is int and 0 < port < 65_536
    return {**_address(address), **({"port": port} if known else {})}


def _is_name(value: Value) -> bool:
    return isinstance(value, str) and bool(value) and not _address(value)


def _address(value: Value) -> dict[str, str]:
    try:
        found = ip_address(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    return {} if found is None else {f"ipv{found.version}": str(value)}


def _tags(span: StoredSpan, local: Mapping[str, Any], remote: Mapping[str, Any]) -> dict[str, str]:
    known = {"service.name", *_REMOTE, *_LOCAL}
    attributes = {key: value for key, value in span.resource.items() if key not in known}
    for key, value in span.attributes.items():
        told = any(remote.get(name) == value for name in _REMOTE.get(key, ())) or any(
            local.get(name) == value for name in _LOCAL.get(key, ())
        )
        if not told and not (key in _MARKS and value is True):
            attributes[key] = value
    tags = {key: plain(value) for key, value in attributes.items()}
    for name, said in (("otel.scope.name", span.scope.name), ("otel.scope.version", span.scope.version)):
        if said:
            tags.setdefault(name, said)
    tags.pop("otel.status_code", None)
    if span.status == 2:
        if "error" not in span.attributes or "otel.status_code" in span.attributes:
            tags["otel.status_code"] = "ERROR"
        if tags.setdefault("error", span.status_message) != span.status_message:
            tags["otel.status_description"] = span.status_message
    else:
        tags.pop("error", None)  # any error tag, whatever it says, is a failure to Zipkin
        if span.status == 1:
            tags["otel.status_code"] = "OK"
    return tags


def _annotation(event: SpanEvent) -> dict[str, Any]:
    return {"timestamp": event.time // 1_000, "value": _annotation_text(event.name, event.attributes)}


def _annotation_text(name: str, attributes: Mapping[str, Value]) -> str:
    if not attributes:
        return name
    values = {key: value if isinstance(value, (bool, int, str)) else plain(value) for key, value in attributes.items()}
    return f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(values, ensure_ascii=False)}"
