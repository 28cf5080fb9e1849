"""Spans as OTLP's JSON and protobuf (opentelemetry-proto, docs/specification.md, "JSON Protobuf Encoding").

64-bit integers are strings, ids are hexadecimal, enumerations are numbers. What has its default value is left out, as
protobuf's JSON does.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from kai_tracing_backend.columns import dump_resource, dump_scope
from kai_tracing_backend.model import Scope, StoredSpan
from kai_tracing_backend.values import Value, to_otlp

__all__ = ["attribute_list", "scope_document", "span_document", "traces_data", "traces_message"]

_FLAGS = (1 << 10) - 1
"""The bits of `flags` that OTLP defines; this package keeps notes of its own in others."""

_IDS = frozenset(("traceId", "spanId", "parentSpanId"))


def traces_data(spans: Iterable[StoredSpan]) -> dict[str, Any]:
    """`TracesData`, which is an `ExportTraceServiceRequest`, too: the spans by resource, and in it by scope."""
    resources: dict[str, dict[str, Any]] = {}
    scopes: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for span in spans:
        resource, scope = dump_resource(span.resource, span.resource_schema_url), dump_scope(span.scope)
        if (found := scopes.get((resource, scope))) is None:
            if (of_resource := resources.get(resource)) is None:
                of_resource = resources[resource] = {
                    "resource": {"attributes": attribute_list(span.resource)},
                    "scopeSpans": [],
                    **_present({"schemaUrl": span.resource_schema_url}),
                }
            found = scopes[resource, scope] = []
            of_scope = {
                "scope": _present(scope_document(span.scope)),
                "spans": found,
                **_present({"schemaUrl": span.scope.schema_url}),
            }
            of_resource["scopeSpans"].append(of_scope)
        found.append(_compact(span_document(span)))
    return {"resourceSpans": list(resources.values())}


def traces_message(spans: Iterable[StoredSpan]) -> TracesData:
    """The same in protobuf."""
    document = traces_data(spans)
    for of_resource in document["resourceSpans"]:
        for of_scope in of_resource["scopeSpans"]:
            for span in of_scope["spans"]:
                _ids_in_base64(span)
                for link in span.get("links", ()):
                    _ids_in_base64(link)
    return ParseDict(document, TracesData())


def span_document(span: StoredSpan) -> dict[str, Any]:
    """A span with every field that OTLP has, also those with their default value."""
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_id or "",
        "traceState": span.trace_state,
        "flags": span.flags & _FLAGS,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.start_time + span.duration),
        "attributes": attribute_list(span.attributes),
        "events": [
            {
                "timeUnixNano": str(event.time),
                "name": event.name,
                "attributes": attribute_list(event.attributes),
                "droppedAttributesCount": event.dropped_attributes,
            }
            for event in span.events
        ],
        "links": [
            {
                "traceId": link.trace_id,
                "spanId": link.span_id,
                "traceState": link.trace_state,
                "flags": link.flags & _FLAGS,
                "attributes": attribute_list(link.attributes),
                "droppedAttributesCount": link.dropped_attributes,
            }
            for link in span.links
        ],
        "status": {"code": span.status, "message": span.status_message},
        "droppedAttributesCount": span.dropped_attributes,
        "droppedEventsCount": span.dropped_events,
        "droppedLinksCount": span.dropped_links,
    }


def scope_document(scope: Scope) -> dict[str, Any]:
    """`InstrumentationScope`."""
    return {"name": scope.name, "version": scope.version, "attributes": attribute_list(scope.attributes)}


def attribute_list(attributes: Mapping[str, Value]) -> list[dict[str, Any]]:
    """A list of `KeyValue`."""
    return [{"key": key, "value": to_otlp(value)} for key, value in attributes.items()]


def _compact(span: dict[str, Any]) -> dict[str, Any]:
    for name in ("events", "links"):
        span[name] = [_present(item) for item in span[name]]
    span["status"] = _present(span["status"])
    return _present(span)


def _present(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what has its default value."""
    return {name: value for name, value in document.items() if value}


def _ids_in_base64(document: dict[str, Any]) -> None:
    """Bytes as protobuf's own JSON has them."""
    for name in _IDS & document.keys():
        document[name] = base64.b64encode(bytes.fromhex(document[name])).decode()
