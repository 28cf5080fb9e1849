"""A histogram that counts with weights, which those of the metric libraries do not."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple

from kai_tracing_core.telemetry.contract import Exemplar

__all__ = ["DURATION_BOUNDS", "Snapshot", "WeightedHistogram"]

DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds; the advice of the semantic conventions for `http.server.request.duration`."""


class Snapshot(NamedTuple):
    """A histogram at one moment. There is one bucket more than bounds; an exemplar comes with its value."""

    buckets: tuple[float, ...]
    exemplars: tuple[tuple[float, Exemplar] | None, ...]
    total: float
    weight: float


class WeightedHistogram:
    """Counts values into buckets of upper bounds, each with its weight; thread-safe."""

    __slots__ = ("_bounds", "_buckets", "_exemplars", "_lock", "_total")

    def __init__(self, bounds: Sequence[float] = DURATION_BOUNDS) -> None:
        self._bounds = bounds
        self._buckets = [0.0] * (len(bounds) + 1)
        self._exemplars: list[tuple[float, Exemplar] | None] = [None] * (len(bounds) + 1)
        self._total = 0.0
        self._lock = Lock()

    def record(self, value: float, weight: float, exemplar: Exemplar) -> None:
        """Count `value`, `weight` times; the exemplar is kept until the next one in the same bucket."""
        index = bisect_left(self._bounds, value)
        with self._lock:
            self._buckets[index] += weight
            self._exemplars[index] = value, exemplar
            self._total += value * weight

    def snapshot(self) -> Snapshot:
        """What was counted so far."""
        with self._lock:
            return Snapshot(tuple(self._buckets), tuple(self._exemplars), self._total, sum(self._buckets))
