"""How the API writes what the store answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.values import Value, to_otlp

__all__ = ["span_document"]


def span_document(span: StoredSpan) -> dict[str, Any]:
    """A span as OTLP's JSON has it, with its service, resource and scope: 64-bit integers are strings."""
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_id or "",
        "traceState": span.trace_state,
        "flags": span.flags,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.start_time + span.duration),
        "attributes": _attributes(span.attributes),
        "events": [
            {
                "timeUnixNano": str(event.time),
                "name": event.name,
                "attributes": _attributes(event.attributes),
                "droppedAttributesCount": event.dropped_attributes,
            }
            for event in span.events
        ],
        "links": [
            {
                "traceId": link.trace_id,
                "spanId": link.span_id,
                "traceState": link.trace_state,
                "flags": link.flags,
                "attributes": _attributes(link.attributes),
                "droppedAttributesCount": link.dropped_attributes,
            }
            for link in span.links
        ],
        "status": {"code": span.status, "message": span.status_message},
        "droppedAttributesCount": span.dropped_attributes,
        "droppedEventsCount": span.dropped_events,
        "droppedLinksCount": span.dropped_links,
        "service": span.service,
        "adjustedCount": span.adjusted_count,
        "resource": {"attributes": _attributes(span.resource), "schemaUrl": span.resource_schema_url},
        "scope": {
            "name": span.scope.name,
            "version": span.scope.version,
            "attributes": _attributes(span.scope.attributes),
            "schemaUrl": span.scope.schema_url,
        },
    }


def _attributes(attributes: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": key, "value": to_otlp(value)} for key, value in attributes.items()]
