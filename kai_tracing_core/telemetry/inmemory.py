"""Measurements kept in the process, for tests and for reading them back."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from kai_tracing_core.processing.processor import Stats
from kai_tracing_core.telemetry.contract import Exemplar, Operation, TelemetryService
from kai_tracing_core.telemetry.histogram import Snapshot, WeightedHistogram

__all__ = ["InMemoryTelemetry"]


class InMemoryTelemetry(TelemetryService):
    """Keeps a duration histogram for each operation."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._histograms: dict[Operation, WeightedHistogram] = {}
        self._stats: Callable[[], Stats] = Stats

    def record(self, operation: Operation, seconds: float, weight: float, exemplar: Exemplar) -> None:
        """Count the operation."""
        histogram = self._histograms.get(operation)
        if histogram is None:
            with self._lock:
                histogram = self._histograms.setdefault(operation, WeightedHistogram())
        histogram.record(seconds, weight, exemplar)

    def observe_stats(self, stats: Callable[[], Stats]) -> None:
        """Remember where to ask."""
        self._stats = stats

    @property
    def stats(self) -> Stats:
        """What tracing says of itself now."""
        return self._stats()

    def durations(self) -> dict[Operation, Snapshot]:
        """The histogram of every operation."""
        with self._lock:
            histograms = list(self._histograms.items())
        return {operation: histogram.snapshot() for operation, histogram in histograms}

    def calls(self, name: str) -> float:
        """How many operations of this name ended, those that were not sampled included."""
        return sum(snapshot.weight for operation, snapshot in self.durations().items() if operation.name == name)

    def errors(self, name: str) -> float:
        """How many of them failed."""
        return sum(
            snapshot.weight
            for operation, snapshot in self.durations().items()
            if operation.name == name and operation.error
        )
