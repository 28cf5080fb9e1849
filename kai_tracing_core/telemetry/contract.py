"""The contract of a telemetry service: what the tracing service forwards to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from kai_tracing_core.processing.processor import Stats

if TYPE_CHECKING:
    from typing_extensions import Self

    from kai_tracing_core.settings import TracingSettings

__all__ = ["OTHER", "OVERFLOW", "HttpRequest", "Measurement", "Operation", "TelemetryService"]

OTHER = "_other"
"""The name of every operation beyond the bound on distinct ones."""

Pairs: TypeAlias = tuple[tuple[str, "str | int | bool"], ...]

OVERFLOW: Pairs = (("otel.metric.overflow", True),)
"""The attributes of every HTTP request beyond that bound (OpenTelemetry specification, "Cardinality limits")."""


class Operation(NamedTuple):
    """What measurements are grouped by: the dimensions of the metrics.

    `kind` is the span kind in lower case. `status_class` is `1xx` to `5xx` for HTTP, else `ok` or `error`.
    """

    service: str
    name: str
    kind: str
    status_class: str


class HttpRequest(NamedTuple):
    """What HTTP requests are grouped by: attributes of the semantic conventions ("HTTP metrics", 1.44)."""

    is_client: bool
    attributes: Pairs

    @property
    def metric(self) -> str:
        """`http.client.request.duration` or `http.server.request.duration`."""
        return f"http.{'client' if self.is_client else 'server'}.request.duration"


class Measurement(NamedTuple):
    """One span that ended, at `time` in nanoseconds since the epoch.

    `weight`, its adjusted count, is how many operations it stands for. The ids, as integers, make it an exemplar: what
    a chart links to.
    """

    operation: Operation
    seconds: float
    weight: float
    error: bool
    trace_id: int
    span_id: int
    time: int
    http: HttpRequest | None = None


class TelemetryService(ABC):
    """Takes a measurement for each recorded span that ends.

    What it raises is logged and swallowed. A plugin in the entry-point group `kai_tracing.telemetry`, which
    `TRACING_TELEMETRY` names, is such a class or something with the hook `kai_tracing_create_telemetry`.
    """

    @classmethod
    def from_settings(cls, settings: TracingSettings) -> Self:
        """Make one for these settings; called once at start-up, may raise."""
        return cls()

    @abstractmethod
    def record(self, measurement: Measurement) -> None:
        """An operation ended. On the thread that ended it: must be quick and must not block."""

    def observe_stats(self, stats: Callable[[], Stats]) -> None:
        """Report, whenever metrics are collected, what `stats()` says of tracing itself."""

    def flush(self, timeout: float) -> bool:
        """Pass on what is held back, within `timeout` seconds. Returns whether all of it was."""
        return True

    def close(self) -> None:
        """Stop reporting."""
