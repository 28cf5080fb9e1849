"""A histogram that counts with weights, which those of the metric libraries do not."""

from __future__ import annotations

from bisect import bisect_left
from threading import RLock
from typing import NamedTuple

from kai_tracing_core.telemetry.contract import Measurement

__all__ = ["DURATION_BOUNDS", "Snapshot", "WeightedHistogram"]

DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds; the advice of the semantic conventions for `http.server.request.duration`."""


class Snapshot(NamedTuple):
    """A histogram at one moment.

    `buckets` are not cumulated and one more than the bounds; `exemplars` has the latest measurement of each. `total` is
    the weighted sum of the values in seconds, `weight` the number of operations, `errors` of those that failed.
    """

    buckets: tuple[float, ...]
    exemplars: tuple[Measurement | None, ...]
    total: float
    weight: float
    errors: float


class WeightedHistogram:
    """Counts durations into the buckets of `DURATION_BOUNDS`, each with its weight; thread-safe."""

    __slots__ = ("_buckets", "_errors", "_exemplars", "_lock", "_total")

    def __init__(self) -> None:
        self._buckets = [0.0] * (len(DURATION_BOUNDS) + 1)
        self._exemplars: list[Measurement | None] = [None] * (len(DURATION_BOUNDS) + 1)
        self._total = self._errors = 0.0
        # Reentrant, since a span may end in a signal handler or in __del__ while this thread holds the lock.
        self._lock = RLock()

    def record(self, measurement: Measurement) -> None:
        """Count the measurement, and keep it until the next one in the same bucket."""
        seconds, weight = measurement.seconds, measurement.weight
        index = bisect_left(DURATION_BOUNDS, seconds)
        with self._lock:
            self._buckets[index] += weight
            self._exemplars[index] = measurement
            self._total += seconds * weight
            if measurement.error:
                self._errors += weight

    def snapshot(self) -> Snapshot:
        """What was counted so far."""
        with self._lock:
            buckets, exemplars = tuple(self._buckets), tuple(self._exemplars)
            return Snapshot(buckets, exemplars, self._total, sum(buckets), self._errors)
