"""The archive: what is in it, asking it, and bringing traces back."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field

from kai_tracing_backend.api.errors import NotFoundError
from kai_tracing_backend.api.parameters import ParameterError
from kai_tracing_backend.api.traces import normal_id
from kai_tracing_backend.api.v1.asking import Asking, router_of
from kai_tracing_backend.api.v1.models import Failure
from kai_tracing_backend.api.v1.retention import Keeping, keep_time
from kai_tracing_backend.api.v1.search import QueryText, trace_document
from kai_tracing_backend.language.parser import parse
from kai_tracing_backend.retention.restoring import restore_day, restore_trace, search_archive

__all__ = ["router"]

router = router_of("archive", limited=False)

_ABSENT: dict[int | str, dict[str, Any]] = {
    404: {"model": Failure, "description": "It is not in the archive."},
    422: {"model": Failure, "description": "The days have too many spans to be asked."},
}


class RestoreRequest(BaseModel):
    """What to bring back: a day or a trace."""

    day: Annotated[date | None, Field(description="A day (UTC).")] = None
    trace_id: Annotated[str | None, Field(json_schema_extra={"pattern": "^[0-9a-fA-F]{1,32}$"})] = None
    keep: Annotated[str, Field(max_length=20, description="How long no sweep takes it: 12h, 7d, 2w.")] = "7d"


@router.get("/archive")
def days(keeper: Keeping, tenant: Asking) -> dict[str, Any]:
    """The days that are in the archive, the newest first."""
    found = keeper.archive.days(tenant.name)
    return {
        "folder": str(keeper.archive.folder),
        "days": [
            {"day": one.day.isoformat(), "traces": one.traces, "spans": one.spans, "bytes": one.bytes} for one in found
        ],
    }


@router.get("/archive/search", responses=_ABSENT)
def search(
    keeper: Keeping,
    tenant: Asking,
    q: QueryText = "{ }",
    day: Annotated[list[date] | None, Query(max_length=100, description="Days to ask; all by default.")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000, description="How many traces at most.")] = 20,
) -> dict[str, Any]:
    """The archived traces in which the query finds a span, newest first."""
    query = parse(q)
    chosen = day if day is not None else [found.day for found in keeper.archive.days(tenant.name)]
    page = search_archive(keeper.archive, tenant, query, sorted(set(chosen), reverse=True), limit)
    return {"traces": [trace_document(one) for one in page.traces]}


@router.post("/archive/restore", responses=_ABSENT)
def restore(keeper: Keeping, tenant: Asking, body: RestoreRequest) -> dict[str, Any]:
    """Bring a day or a trace back into the store, and keep it from the sweeper for some time.

    Rates and dependencies do not change: they were counted when the spans came first.
    """
    keep = keep_time(body.keep)
    if (body.day is None) == (body.trace_id is None):
        raise ParameterError("day", "say a day or a trace_id")
    if body.day is not None:
        read, new = restore_day(keeper.archive, tenant, body.day, keep)
        what = f"the day {body.day}"
    else:
        trace_id = normal_id("trace_id", body.trace_id or "")
        read, new = restore_trace(keeper.archive, tenant, trace_id, keep)
        what = f"the trace {trace_id}"
    if not read:
        raise NotFoundError(f"{what} is not in the archive")
    return {"spans": read, "restored": new}
