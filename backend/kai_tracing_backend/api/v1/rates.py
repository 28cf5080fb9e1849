"""Rate, errors and durations of operations, from the sketches that are made when spans come in."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Any

from fastapi import Query

from kai_tracing_backend.api.paging import page
from kai_tracing_backend.api.parameters import ParameterError, duration
from kai_tracing_backend.api.v1.asking import Asking, LastHour, PageCursor, PageLimit, Window, router_of
from kai_tracing_backend.api.v1.models import Durations, Interval, Rate, Rates
from kai_tracing_backend.api.v1.words import kind_word
from kai_tracing_backend.model import Rate as StoredRate
from kai_tracing_backend.sketch import merged, quantile
from kai_tracing_backend.storage.contract import SpanStore

__all__ = ["router"]

router = router_of("numbers")

_SECOND = 1_000_000_000
_MINUTE = 60 * _SECOND
_MAX_STEPS = 120

Key = tuple[str, str, int]


@router.get("/rates")
def rates(
    tenant: Asking,
    window: LastHour,
    service: Annotated[str | None, Query(description="Only operations of this service.", examples=["cart"])] = None,
    operation: Annotated[str | None, Query(description="Only operations of this name.")] = None,
    step: Annotated[
        str | None,
        Query(
            description=f"Also answer a series in steps of this length, whole minutes, at most {_MAX_STEPS} of them.",
            examples=["5m"],
        ),
    ] = None,
    limit: PageLimit = 100,
    cursor: PageCursor = None,
) -> Rates:
    """Rate, errors and durations of operations, to the minute; without times, of the last hour.

    Spans that were sampled count for as many as they stand for.
    """
    steps = _steps(window, step)
    whole = _by_operation(tenant.store, window, service, operation)
    found, following = page(whole, lambda key: key, limit, cursor)
    series: dict[Key, list[Interval]] = defaultdict(list)
    for one in steps:
        for key, stored in _by_operation(tenant.store, one, service, operation).items():
            series[key].append(Interval(**_numbers(one, stored)))
    answer = [
        Rate(
            service=key[0],
            operation=key[1],
            kind=kind_word(key[2]),
            series=series[key] if step else None,
            **_numbers(window, whole[key]),
        )
        for key in found
    ]
    return Rates(start=str(window[0]), end=str(window[1]), rates=answer, cursor=following)


def _steps(window: Window, step: str | None) -> list[Window]:
    """The window in steps that begin at whole ones, as clocks have them."""
    if step is None:
        return []
    length = duration("step", step)
    if not length or length % _MINUTE:
        raise ParameterError("step", "must be whole minutes")
    first, end = window[0] // length * length, window[1]
    if (end - first) / length > _MAX_STEPS:
        raise ParameterError("step", f"there would be more than {_MAX_STEPS} steps: say a longer one")
    return [(max(begin, window[0]), min(begin + length, end)) for begin in range(first, end, length)]


def _by_operation(
    store: SpanStore, window: Window, service: str | None, operation: str | None
) -> dict[Key, list[StoredRate]]:
    found: dict[Key, list[StoredRate]] = defaultdict(list)
    for rate in store.rates(*window):
        if service in (None, rate.service) and operation in (None, rate.name):
            found[rate.service, rate.name, rate.kind].append(rate)
    return found


def _numbers(window: Window, stored: list[StoredRate]) -> dict[str, Any]:
    """The fields of an `Interval`."""
    weight = sum(rate.weight for rate in stored)
    errors = sum(rate.weight for rate in stored if rate.status == 2)
    return {
        "start": str(window[0]),
        "end": str(window[1]),
        "spans": sum(rate.spans for rate in stored),
        "adjusted_count": weight,
        "adjusted_errors": errors,
        "per_second": weight * _SECOND / (window[1] - window[0]),
        "error_ratio": min(1.0, errors / weight),
        "durations": _durations(stored, weight),
    }


def _durations(stored: list[StoredRate], weight: float) -> Durations:
    shortest = min(rate.min_duration for rate in stored)
    longest = max(rate.max_duration for rate in stored)
    sketch = merged(rate.sketch for rate in stored)

    def of(q: float) -> float:
        return min(max(quantile(sketch, q), shortest), longest)

    return Durations(
        minimum=shortest,
        maximum=longest,
        mean=sum(rate.total_duration for rate in stored) / weight,
        p50=of(0.5),
        p90=of(0.9),
        p95=of(0.95),
        p99=of(0.99),
    )
