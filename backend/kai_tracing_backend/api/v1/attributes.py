"""Attributes and their values, to choose from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Query
from fastapi.responses import JSONResponse

from kai_tracing_backend.api.v1.asking import Asking, LastHour, PageLimit, router_of
from kai_tracing_backend.api.v1.models import AttributeKeys, AttributeValues, Failure
from kai_tracing_backend.values import to_otlp

__all__ = ["router"]

router = router_of("catalog")

_NO_PATH: dict[int | str, dict[str, Any]] = {
    404: {"model": Failure, "description": "The key has a line break, which no path can say."}
}


@router.get("/attributes", response_model=AttributeKeys)
def attributes(
    tenant: Asking,
    window: LastHour,
    prefix: Annotated[str, Query(description="Only those whose names begin so.")] = "",
    limit: PageLimit = 100,
) -> JSONResponse:
    """The attributes of spans and resources, the most frequent first; without times, of the last hour."""
    found = tenant.store.attribute_keys(*window, limit=10_000)
    answer = [
        {"key": one.key, "scope": one.scope, "type": one.type, "spans": one.spans}
        for one in found
        if one.key.startswith(prefix)
    ]
    return JSONResponse({"attributes": answer[:limit]})


@router.get("/attributes/{key:path}/values", response_model=AttributeValues, responses=_NO_PATH)
def values(
    key: Annotated[str, Path(description="The attribute's name.", examples=["http.route"])],
    tenant: Asking,
    window: LastHour,
    scope: Annotated[
        Literal["span", "resource"] | None, Query(description="Where it stands; anywhere, unless said.")
    ] = None,
    prefix: Annotated[str, Query(description="Only values whose text begins so.")] = "",
    limit: PageLimit = 100,
) -> JSONResponse:
    """The values of an attribute, the most frequent first; without times, of the last hour."""
    found = tenant.store.attribute_values(key, *window, scope=scope or "", prefix=prefix, limit=limit)
    return JSONResponse({"key": key, "values": [{"value": to_otlp(one.value), "spans": one.spans} for one in found]})
