"""The project's own API, `/api/v1`, and the process's health."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.storage.contract import SpanStore, StoreError
from kai_tracing_backend.values import Value, to_otlp

__all__ = ["api_app"]


def api_app(store: SpanStore) -> Starlette:
    """`GET /api/v1/traces/{id}`, `GET /api/v1/services`, `GET /healthz`, `GET /readyz`."""

    async def healthz(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> JSONResponse:
        await run_in_threadpool(store.services, 0, 1)
        return JSONResponse({"status": "ready"})

    async def services(request: Request) -> JSONResponse:
        return JSONResponse({"services": await run_in_threadpool(store.services)})

    async def trace(request: Request) -> JSONResponse:
        trace_id = request.path_params["trace_id"]
        try:
            spans = await run_in_threadpool(store.trace, trace_id)
        except ValueError:
            return _error(HTTPStatus.BAD_REQUEST, "a trace id has 1 to 32 hexadecimal digits")
        if not spans:
            return _error(HTTPStatus.NOT_FOUND, f"there is no trace {trace_id}")
        return JSONResponse({"traceId": spans[0].trace_id, "spans": [_span(span) for span in spans]})

    async def unavailable(request: Request, error: Exception) -> JSONResponse:
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/api/v1/services", services),
            Route("/api/v1/traces/{trace_id}", trace),
        ],
        exception_handlers={StoreError: unavailable},
    )


def _error(status: HTTPStatus, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)


def _span(span: StoredSpan) -> dict[str, Any]:
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
