"""Whether the process runs (`/healthz`), can take and answer (`/readyz`), and what it counts (`/metrics`)."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from kai_tracing_backend.api.v1.asking import Asking
from kai_tracing_backend.metrics import CONTENT_TYPE

__all__ = ["router"]

router = APIRouter()


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process runs."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(tenant: Asking) -> dict[str, str]:
    """The store answers, and there is room in the queue in front of it; 503 where not."""
    if tenant.queue.full or tenant.pipeline.full:
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "the write queue is full")
    tenant.store.services(0, 1)
    return {"status": "ready"}


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request) -> Response:
    """The backend's own metrics in Prometheus' text format."""
    return Response(request.state.metrics.expose(), media_type=CONTENT_TYPE)
