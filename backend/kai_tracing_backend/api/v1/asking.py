"""What questions to `/api/v1` have in common: their parameters, and how errors are answered."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from kai_tracing_backend.api.parameters import DAY, ENDLESS, window
from kai_tracing_backend.api.v1.models import Failure
from kai_tracing_backend.tenants import Tenant, tenant_of

__all__ = ["Asking", "Ever", "LastDay", "LastHour", "PageCursor", "PageLimit", "Window", "router_of"]

Asking = Annotated[Tenant, Depends(tenant_of)]
Window = tuple[int, int]

_TIME = "nanoseconds since the epoch, RFC 3339, or relative to now (`now-1h`)"
_EXAMPLES = ["now-1h", "2026-01-31T12:00:00Z", "1790000000000000000"]
Start = Annotated[str | None, Query(description=f"From when on: {_TIME}.", examples=_EXAMPLES)]
End = Annotated[str | None, Query(description=f"Until when, now by default: {_TIME}.", examples=_EXAMPLES)]

_HOUR = DAY // 24


def _last_hour(start: Start = None, end: End = None) -> Window:
    return window(start, end, _HOUR)


def _last_day(start: Start = None, end: End = None) -> Window:
    return window(start, end, DAY)


def _ever(start: Start = None, end: End = None) -> Window:
    return window(start or "0", end or str(ENDLESS), DAY)


LastHour = Annotated[Window, Depends(_last_hour)]
"""The window that `start` and `end` say; the last hour where they do not."""
LastDay = Annotated[Window, Depends(_last_day)]
Ever = Annotated[Window, Depends(_ever)]

PageLimit = Annotated[int, Query(ge=1, le=1_000, description="How many at most.")]
PageCursor = Annotated[str | None, Query(max_length=4_000, description="`cursor` of the page before.")]


def _bounded(
    timeout: Annotated[
        str | None,
        Query(
            description="How long the query may take, a duration such as `5s`; the backend's setting is the most.",
            examples=["5s"],
        ),
    ] = None,
) -> None:
    """`api.limits.QueryLimits` reads it, for all APIs; this is for the documentation."""


def router_of(tag: str, *, limited: bool = True) -> APIRouter:
    """A router with the answers to errors that all have."""
    errors: dict[int | str, dict[str, Any]] = {
        400: {"model": Failure, "description": "A parameter says nothing; the answer names it."},
        503: {"model": Failure, "description": "Too busy, or the store cannot be read; Retry-After says when to come."},
    }
    if limited:
        errors[422] = {"model": Failure, "description": "The query reads more than one may."}
        errors[504] = {"model": Failure, "description": "The query took longer than it may."}
    return APIRouter(
        prefix="/api/v1", tags=[tag], responses=errors, dependencies=[Depends(_bounded)] if limited else []
    )
