"""Measurements kept in the process, for tests and for reading them back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kai_tracing_core.processing import lifecycle
from kai_tracing_core.processing.processor import Stats
from kai_tracing_core.telemetry.contract import HttpRequest, Measurement, Operation, TelemetryService
from kai_tracing_core.telemetry.histogram import Snapshot, WeightedHistogram

__all__ = ["InMemoryTelemetry"]

K = TypeVar("K", Operation, HttpRequest)


class InMemoryTelemetry(TelemetryService):
    """Keeps a duration histogram for each operation, and for each kind of HTTP request."""

    def __init__(self) -> None:
        self._stats: Callable[[], Stats] = Stats
        self._reset()
        lifecycle.register_fork(self)

    def _reset(self) -> None:
        self._operations: dict[Operation, WeightedHistogram] = {}
        self._requests: dict[HttpRequest, WeightedHistogram] = {}

    def after_fork(self) -> None:
        """In a forked child: count from zero, with locks that no other thread holds."""
        self._reset()

    def record(self, measurement: Measurement) -> None:
        """Count the operation."""
        _histogram(self._operations, measurement.operation).record(measurement)
        if measurement.http is not None:
            _histogram(self._requests, measurement.http).record(measurement)

    def observe_stats(self, stats: Callable[[], Stats]) -> None:
        """Remember where to ask."""
        self._stats = stats

    @property
    def stats(self) -> Stats:
        """What tracing says of itself now."""
        return self._stats()

    def durations(self) -> dict[Operation, Snapshot]:
        """The histogram of every operation."""
        return {operation: histogram.snapshot() for operation, histogram in list(self._operations.items())}

    def http_durations(self) -> dict[HttpRequest, Snapshot]:
        """The histogram of every kind of HTTP request."""
        return {request: histogram.snapshot() for request, histogram in list(self._requests.items())}

    def calls(self, name: str) -> float:
        """How many operations of this name ended, those that were not sampled included."""
        return sum(snapshot.weight for operation, snapshot in self.durations().items() if operation.name == name)

    def errors(self, name: str) -> float:
        """How many of them failed."""
        return sum(snapshot.errors for operation, snapshot in self.durations().items() if operation.name == name)


def _histogram(histograms: dict[K, WeightedHistogram], key: K) -> WeightedHistogram:
    histogram = histograms.get(key)
    # setdefault is atomic, and whoever comes second takes what is there.
    return histograms.setdefault(key, WeightedHistogram()) if histogram is None else histogram
