"""The contract of a telemetry service: what the tracing service forwards to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from kai_tracing_core.processing.processor import Stats

__all__ = ["OTHER", "Exemplar", "Operation", "TelemetryService"]

OTHER = "_other"
"""The operation of whatever comes after the bound on distinct operations is reached."""


class Operation(NamedTuple):
    """What measurements are grouped by: the dimensions of the metrics.

    `kind` is the span kind in lower case. `status_class` is `2xx` to `5xx` for HTTP, else `ok` or `error`.
    """

    service: str
    name: str
    kind: str
    status_class: str
    error: bool


class Exemplar(NamedTuple):
    """A span that a measurement came from: what a chart links to."""

    trace_id: str
    span_id: str


class TelemetryService(ABC):
    """Takes a measurement for each span that ends, on the thread that ended it: must be quick and must not block.

    What it raises is logged and swallowed.
    """

    @abstractmethod
    def record(self, operation: Operation, seconds: float, weight: float, exemplar: Exemplar) -> None:
        """An operation ended after `seconds`. `weight`, its adjusted count, is how many it stands for."""

    def observe_stats(self, stats: Callable[[], Stats]) -> None:
        """Report, whenever metrics are collected, what `stats()` says of tracing itself."""

    def flush(self, timeout: float) -> bool:
        """Pass on what is held back, within `timeout` seconds."""
        return True

    def close(self) -> None:
        """Stop reporting."""
