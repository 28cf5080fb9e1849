"""The project's own API, `/api/v1`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException

from kai_tracing_backend.formats import otlp
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.tenants import Tenant, tenant_of

__all__ = ["router"]

router = APIRouter(prefix="/api/v1")

Asking = Annotated[Tenant, Depends(tenant_of)]


@router.get("/services")
def services(tenant: Asking) -> dict[str, Any]:
    """The names of all services that spans came from."""
    return {"services": tenant.store.services()}


@router.get("/traces/{trace_id}")
def trace(trace_id: str, tenant: Asking) -> dict[str, Any]:
    """The spans of a trace by start, each as OTLP's JSON has it, with its service, resource and scope."""
    try:
        spans = tenant.store.trace(trace_id)
    except ValueError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "a trace id has 1 to 32 hexadecimal digits") from error
    if not spans:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no trace {trace_id}")
    return {"traceId": spans[0].trace_id, "spans": [_span(span) for span in spans]}


def _span(span: StoredSpan) -> dict[str, Any]:
    return {
        **otlp.span_document(span),
        "service": span.service,
        "adjustedCount": span.adjusted_count,
        "resource": {"attributes": otlp.attribute_list(span.resource), "schemaUrl": span.resource_schema_url},
        "scope": {**otlp.scope_document(span.scope), "schemaUrl": span.scope.schema_url},
    }
