"""Jaeger's metrics API, which the page "Monitor" of its interface reads: calls, errors and durations as series.

They are those of spans of kind server unless others are asked for, by service or also by operation, and come from the
sketches that are made when spans come in. Times are milliseconds, and so are durations.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from math import isfinite
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kai_tracing_backend.api.jaeger import endpoint, envelope, kind_number
from kai_tracing_backend.api.parameters import ENDLESS, ParameterError, number
from kai_tracing_backend.model import Rate
from kai_tracing_backend.sketch import merged, quantile
from kai_tracing_backend.storage.contract import SpanStore
from kai_tracing_backend.tenants import tenant_of

__all__ = ["routes"]

_MILLISECOND = 1_000_000
_SECOND = 1_000 * _MILLISECOND
_MINUTE = 60 * _SECOND  # what rates are kept by
_MAX_STEPS = 120
_MAX_SERVICES = 100
_LAST = ENDLESS // _MILLISECOND
_SERVER = 2
_LABELS = ("service_name", "operation")
_BOOLEANS = {"": False, "false": False, "0": False, "true": True, "1": True}

Key: TypeAlias = "tuple[str, ...]"
Value: TypeAlias = "Callable[[list[Rate], float], float]"
"""What a point says of the rates of a step of so many seconds."""


@endpoint
def calls(request: Request) -> Response:
    """`/api/metrics/calls`: calls a second."""
    return _family(request, "call_rate", "calls/sec", lambda rates, seconds: _weight(rates) / seconds)


@endpoint
def errors(request: Request) -> Response:
    """`/api/metrics/errors`: which share of the calls failed."""

    def share(rates: list[Rate], seconds: float) -> float:
        return min(1.0, _weight(rate for rate in rates if rate.status == 2) / _weight(rates))

    return _family(request, "error_rate", "error rate, computed as a fraction of errors/sec over calls/sec", share)


@endpoint
def latencies(request: Request) -> Response:
    """`/api/metrics/latencies?quantile`: what so many calls did not take longer than."""
    said = request.query_params.get("quantile", "")
    try:
        q = float(said)
    except ValueError:
        raise ParameterError("quantile", f"{said[:100]!r} is no number") from None
    if not (isfinite(q) and 0 <= q <= 1):
        raise ParameterError("quantile", "is not between 0 and 1")

    def duration(rates: list[Rate], seconds: float) -> float:
        found = quantile(merged(rate.sketch for rate in rates), q)
        shortest, longest = min(rate.min_duration for rate in rates), max(rate.max_duration for rate in rates)
        return min(max(found, shortest), longest) / _MILLISECOND

    return _family(request, "latencies", f"{q:.2f}th quantile latency", duration)


@endpoint
def min_step(request: Request) -> Response:
    """`/api/metrics/minstep`: the shortest step."""
    return JSONResponse(envelope(_MINUTE // _MILLISECOND))


def _family(request: Request, name: str, told: str, value: Value) -> Response:
    """The answer: a series for each service or operation, a point for each step in which it was called."""
    said = request.query_params.get("groupByOperation", "").lower()
    if said not in _BOOLEANS:
        raise ParameterError("groupByOperation", f"{said[:100]!r} is neither true nor false")
    services = request.query_params.getlist("service")
    if not services:
        raise ParameterError("service", "is required")
    if len(services) > _MAX_SERVICES:
        raise ParameterError("service", f"names more than {_MAX_SERVICES} services")
    kinds = {kind_number("spanKind", kind) for kind in request.query_params.getlist("spanKind")} or {_SERVER}
    series: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for start, end in _steps(request):
        found = _called(tenant_of(request).store, start, end, services, kinds, _BOOLEANS[said])
        for key, rates in found.items():
            point = {"doubleValue": value(rates, (end - start) / _SECOND)}
            series[key].append({"gaugeValue": point, "timestamp": _moment(end)})
    metrics = [
        {
            "labels": [{"name": label, "value": part} for label, part in zip(_LABELS, key, strict=False)],
            "metricPoints": points,
        }
        for key, points in sorted(series.items())
    ]
    of, grouped = ("service_operation", "service & operation") if _BOOLEANS[said] else ("service", "service")
    return JSONResponse(
        {"name": f"{of}_{name}", "type": "GAUGE", "help": f"{told}, grouped by {grouped}", "metrics": metrics}
    )


def _called(
    store: SpanStore, start: int, end: int, services: list[str], kinds: set[int], by_operation: bool
) -> dict[Key, list[Rate]]:
    found: dict[Key, list[Rate]] = defaultdict(list)
    for rate in store.rates(start, end):
        if rate.service in services and rate.kind in kinds:
            found[(rate.service, rate.name) if by_operation else (rate.service,)].append(rate)
    return found


def _steps(request: Request) -> Iterator[tuple[int, int]]:
    """The steps of whole minutes up to the end; longer ones than were asked for where these would be too many."""
    now = time.time_ns() // _MILLISECOND
    end, lookback, step = (
        _milliseconds(request, name, default)
        for name, default in (("endTs", now), ("lookback", 3_600_000), ("step", 1))
    )
    minutes = max(_up(step, _MINUTE), _up(lookback, _MINUTE * _MAX_STEPS), 1)
    last, count = _up(end, _MINUTE) * _MINUTE, _up(lookback, minutes * _MINUTE)
    for place in range(count, 0, -1):
        start = last - place * minutes * _MINUTE
        if start >= 0:
            yield start, start + minutes * _MINUTE


def _milliseconds(request: Request, name: str, default: int) -> int:
    said = request.query_params.get(name)
    return (number(name, said, 0, _LAST) if said else default) * _MILLISECOND


def _up(value: int, unit: int) -> int:
    return -(-value // unit)


def _weight(rates: Iterable[Rate]) -> float:
    return sum(rate.weight for rate in rates)


def _moment(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // _SECOND, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def routes() -> list[Route]:
    """All of it, at the root."""
    paths = {"calls": calls, "errors": errors, "latencies": latencies, "minstep": min_step}
    return [Route(f"/api/metrics/{path}", handler) for path, handler in paths.items()]
