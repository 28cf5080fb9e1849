"""Whether the process runs (`/healthz`) and can answer (`/readyz`)."""

from __future__ import annotations

from fastapi import APIRouter

from kai_tracing_backend.api.v1 import Asking

__all__ = ["router"]

router = APIRouter()


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process runs."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(tenant: Asking) -> dict[str, str]:
    """The store answers."""
    tenant.store.services(0, 1)
    return {"status": "ready"}
