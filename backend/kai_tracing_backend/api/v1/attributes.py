"""Attributes and their values, to choose from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query
from fastapi.responses import JSONResponse

from kai_tracing_backend.api.paging import page
from kai_tracing_backend.api.parameters import ParameterError
from kai_tracing_backend.api.v1.asking import Asking, LastHour, PageCursor, PageLimit, router_of
from kai_tracing_backend.api.v1.models import AttributeKeys, AttributeValues, Failure
from kai_tracing_backend.language.errors import QueryError
from kai_tracing_backend.language.nodes import Condition
from kai_tracing_backend.language.parser import MAX_LENGTH, parse_condition
from kai_tracing_backend.model import AttributeKey, AttributeValue
from kai_tracing_backend.values import plain, to_otlp

__all__ = ["router"]

router = router_of("catalog")

_MOST = 10_000  # of all pages together
_NO_PATH: dict[int | str, dict[str, Any]] = {
    404: {"model": Failure, "description": "The key has a line break, which no path can say."}
}

Scope = Annotated[Literal["span", "resource"] | None, Query(description="Where it stands; anywhere, unless said.")]


def _condition(
    where: Annotated[
        str | None,
        Query(
            max_length=MAX_LENGTH,
            description="Of those spans alone that this selects, one pair of braces of the query language. What cannot "
            "be told of a span alone (as of its events, or its trace) leaves nothing out.",
            examples=['{ resource.service.name = "cart" && status = error }'],
        ),
    ] = None,
) -> Condition | None:
    try:
        return parse_condition(where) if where else None
    except QueryError as error:
        raise ParameterError("where", str(error)) from error


Where = Annotated[Condition | None, Depends(_condition)]


@router.get("/attributes", response_model=AttributeKeys)
def attributes(
    tenant: Asking,
    window: LastHour,
    where: Where,
    scope: Scope = None,
    prefix: Annotated[str, Query(description="Only those whose names begin so.")] = "",
    limit: PageLimit = 100,
    cursor: PageCursor = None,
) -> JSONResponse:
    """The attributes of spans and resources, the most frequent first; without times, of the last hour.

    To turn pages say the same `start` and `end` again.
    """
    every = tenant.store.attribute_keys(*window, where=where, scope=scope or "", prefix=prefix, limit=_MOST)
    found, following = page(every, _key_place, limit, cursor)
    answer = [{"key": one.key, "scope": one.scope, "type": one.type, "spans": one.spans} for one in found]
    return JSONResponse({"attributes": answer, "cursor": following})


@router.get("/attributes/{key:path}/values", response_model=AttributeValues, responses=_NO_PATH)
def values(
    key: Annotated[str, Path(description="The attribute's name.", examples=["http.route"])],
    tenant: Asking,
    window: LastHour,
    where: Where,
    scope: Scope = None,
    prefix: Annotated[str, Query(description="Only values whose text begins so.")] = "",
    limit: PageLimit = 100,
    cursor: PageCursor = None,
) -> JSONResponse:
    """The values of an attribute, the most frequent first and 10,000 at most; without times, of the last hour.

    To turn pages say the same `start` and `end` again.
    """
    every = tenant.store.attribute_values(key, *window, where=where, scope=scope or "", prefix=prefix, limit=_MOST)
    found, following = page(every, _value_place, limit, cursor)
    answer = [{"value": to_otlp(one.value), "spans": one.spans} for one in found]
    return JSONResponse({"key": key, "values": answer, "cursor": following})


def _key_place(one: AttributeKey) -> tuple[int | str, ...]:
    return -one.spans, one.scope, one.key, one.type


def _value_place(one: AttributeValue) -> tuple[int | str, ...]:
    return -one.spans, type(one.value).__name__, plain(one.value)
