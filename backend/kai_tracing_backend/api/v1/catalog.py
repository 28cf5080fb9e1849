"""What there is: services, their operations, who calls whom, and what the store has."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Annotated

from fastapi import Path, Query

from kai_tracing_backend.api.paging import page
from kai_tracing_backend.api.parameters import DAY
from kai_tracing_backend.api.v1.asking import Asking, Ever, LastDay, PageCursor, PageLimit, router_of
from kai_tracing_backend.api.v1.models import Dependencies, Dependency, Failure, Operation, Operations, Services, Stats
from kai_tracing_backend.api.v1.words import kind_word
from kai_tracing_backend.model import Edge

__all__ = ["router"]

router = router_of("catalog")


@router.get("/services")
def services(tenant: Asking, window: Ever, limit: PageLimit = 1_000, cursor: PageCursor = None) -> Services:
    """The names of the services that spans came from; without times, of all that there are."""
    found, following = page(tenant.store.services(*window), lambda name: (name,), limit, cursor)
    return Services(services=found, cursor=following)


@router.get(
    "/services/{service:path}/operations",
    responses={404: {"model": Failure, "description": "The name has a line break, which no path can say."}},
)
def operations(
    service: Annotated[str, Path(description="The service's name.", examples=["cart"])],
    tenant: Asking,
    window: Ever,
    limit: PageLimit = 1_000,
    cursor: PageCursor = None,
) -> Operations:
    """What a service does, by name and kind; nothing for one that is not known."""
    stored = tenant.store.operations(service, *window)
    found, following = page(stored, lambda one: (one.name, one.kind), limit, cursor)
    return Operations(
        operations=[Operation(name=one.name, kind=kind_word(one.kind)) for one in found], cursor=following
    )


@router.get("/dependencies")
def dependencies(
    tenant: Asking,
    window: LastDay,
    service: Annotated[str | None, Query(description="Only calls from or to this one.", examples=["cart"])] = None,
    peers: Annotated[bool, Query(description="Also databases, queues and services that send no spans.")] = False,
    limit: PageLimit = 1_000,
    cursor: PageCursor = None,
) -> Dependencies:
    """Who calls whom, to the minute; without times, in the last day. Older ones outlive their spans."""
    edges = tenant.store.dependencies(*window, peers=peers)
    wanted = [edge for edge in edges if service is None or service in (edge.parent, edge.child)]
    found, following = page(wanted, _names, limit, cursor)
    start, end = map(str, window)
    answer = [
        Dependency(
            parent=edge.parent,
            parent_type=edge.parent_type,
            child=edge.child,
            child_type=edge.child_type,
            calls=edge.calls,
            adjusted_calls=edge.weight,
            errors=edge.errors,
        )
        for edge in found
    ]
    return Dependencies(start=start, end=end, dependencies=answer, cursor=following)


def _names(edge: Edge) -> tuple[str, ...]:
    return edge.parent, edge.child, edge.parent_type, edge.child_type


@router.get("/stats")
def stats(tenant: Asking) -> Stats:
    """What the store has: its days, and how much came in the last one."""
    now = time.time_ns()
    rates = tenant.store.rates(now - DAY, now)
    return Stats(
        version=version("kai-tracing-backend"),
        tenant=tenant.name,
        days=[day.isoformat() for day in tenant.store.days()],
        services=len(tenant.store.services()),
        spans_last_day=sum(rate.spans for rate in rates),
        errors_last_day=sum(rate.spans for rate in rates if rate.status == 2),
    )
