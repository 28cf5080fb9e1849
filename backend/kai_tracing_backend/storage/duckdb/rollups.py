"""Reading what was counted while spans were written: services, operations, rates and dependencies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from kai_tracing_backend.model import Edge, Operation, Rate
from kai_tracing_backend.storage.duckdb.reading import DAY, Reading, fetch, first_moment
from kai_tracing_backend.storage.duckdb.statements import statement

__all__ = ["read_edges", "read_operations", "read_rates", "read_services"]

_MINUTE = 60_000_000_000
_HOUR, _WHOLE_DAY = 60, 1440  # minutes


def read_services(reading: Reading, start: int, end: int) -> list[str]:
    """See `SpanStore.services`."""
    return sorted({name for (name,) in _rows(reading, "read_services", start, end, **_levels(start, end))})


def read_operations(reading: Reading, service: str, start: int, end: int) -> list[Operation]:
    """See `SpanStore.operations`."""
    rows = _rows(reading, "read_operations", start, end, service=service, **_levels(start, end))
    return [Operation(name, kind) for name, kind in sorted(set(rows))]


def read_rates(reading: Reading, start: int, end: int) -> list[Rate]:
    """See `SpanStore.rates`."""
    merged: dict[tuple[Any, ...], Rate] = {}
    for *plain, buckets, weights in _rows(reading, "read_rates", start, end, **_levels(start, end)):
        values = (*plain, dict(zip(buckets, weights, strict=True)))
        rate = Rate(*values)
        key = (rate.service, rate.name, rate.kind, rate.status)
        other = merged.get(key)
        merged[key] = rate if other is None else _merge(other, rate)
    return [merged[key] for key in sorted(merged)]


def read_edges(reading: Reading, start: int, end: int, *, peers: bool, loops: bool) -> list[Edge]:
    """See `SpanStore.dependencies`."""
    merged: dict[tuple[str, ...], Edge] = {}
    for row in _rows(reading, "read_edges", start, end, peers=peers, loops=loops):
        edge = Edge(*row)
        key = (edge.parent, edge.child, edge.parent_type, edge.child_type)
        if (other := merged.get(key)) is not None:
            edge = replace(
                edge,
                calls=edge.calls + other.calls,
                weight=edge.weight + other.weight,
                errors=edge.errors + other.errors,
            )
        merged[key] = edge
    return [merged[key] for key in sorted(merged) if merged[key].calls > 0]


def _window(start: int, end: int) -> tuple[int, int]:
    """The minutes of a window, the last one excluded: those in which a moment of it is."""
    first = start // _MINUTE
    return first, max(first, (max(start, end - 1) // _MINUTE) + 1)


def _levels(start: int, end: int) -> dict[str, int]:
    """Which hours and days are whole in the window, in minutes, the last ones excluded; none is an empty range."""
    first, last = _window(start, end)
    first_hour, last_hour = -(-first // _HOUR) * _HOUR, last // _HOUR * _HOUR
    first_day, last_day = -(-first // _WHOLE_DAY) * _WHOLE_DAY, last // _WHOLE_DAY * _WHOLE_DAY
    return {"first_hour": first_hour, "last_hour": last_hour, "first_day": first_day, "last_day": last_day}


def _rows(reading: Reading, name: str, start: int, end: int, **parameters: Any) -> Iterator[tuple[Any, ...]]:
    """The rows of a statement over the days and the history; the other side of an edge may be in the next day."""
    first, last = _window(start, end)
    window = {"first": first, "last": last, **parameters}
    files = [file for file in reading.days() if start - 2 * DAY < first_moment(file) < end + DAY]
    for found in reading.each([*files, None], lambda cursor: fetch(cursor, statement(name), window)):
        yield from found


def _merge(one: Rate, other: Rate) -> Rate:
    sketch = dict(one.sketch)
    for bucket, weight in other.sketch.items():
        sketch[bucket] = sketch.get(bucket, 0.0) + weight
    return replace(
        one,
        spans=one.spans + other.spans,
        weight=one.weight + other.weight,
        total_duration=one.total_duration + other.total_duration,
        min_duration=min(one.min_duration, other.min_duration),
        max_duration=max(one.max_duration, other.max_duration),
        sketch=sketch,
    )
