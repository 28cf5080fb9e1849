"""How often the traces of each operation begin, by what arrives and what it stands for."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kai_tracing_backend.sampling.judged import Chunk
from kai_tracing_backend.storage.queue import Stage

__all__ = ["Observed", "Traffic"]

_MAX_SERVICES = 500
_MAX_OPERATIONS = 200  # of a service
_IDLE = 3_600.0
_SWEEP = 60.0
_SOONEST = 5.0  # seconds that a rate is at least taken over


class _Rate:
    """Arrivals per second over about `window` seconds: older ones count less and less."""

    __slots__ = ("_began", "_count", "_window", "seen")

    def __init__(self, now: float, window: float) -> None:
        self._began = self.seen = now
        self._window = window
        self._count = 0.0

    def add(self, count: float, now: float) -> None:
        self._count = self._left(now) + count
        self.seen = now

    def at(self, now: float) -> float:
        age = max(_SOONEST, now - self._began)
        return self._left(now) / (self._window * (1 - math.exp(-age / self._window)))

    def _left(self, now: float) -> float:
        return self._count * math.exp((self.seen - now) / self._window)


class Traffic:
    """The rates of one tenant: root spans per second of each service and operation, weighted by adjusted count.

    Spans of Jaeger's clients, which do not carry a count, are counted by their tags `sampler.type` and `sampler.param`.
    At most 500 services and 200 operations of each are watched, and none that was idle for an hour. Thread-safe.
    """

    def __init__(self, window: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        """`window` is in seconds."""
        self._window = window
        self._clock = clock
        self._services: dict[str, dict[str, _Rate]] = {}
        self._sweep_at = 0.0
        self._lock = threading.Lock()

    def observe(self, batch: pa.Table) -> None:
        """Count the root spans of a batch (`columns.BATCH`)."""
        roots = batch.filter(pc.equal(batch["parent_id"], pa.scalar(0, pa.uint64())))
        if not roots.num_rows:
            return
        counts: dict[tuple[str, str], float] = {}
        operations = zip(roots["service"].to_pylist(), roots["name"].to_pylist(), strict=True)
        for operation, count in zip(operations, _counts(roots), strict=True):
            counts[operation] = counts.get(operation, 0.0) + count
        now = self._clock()
        with self._lock:
            for (service, name), count in counts.items():
                if (rate := self._rate(service, name, now)) is not None:
                    rate.add(count, now)

    def rates(self, service: str) -> dict[str, float]:
        """Traces per second of each of a service's operations."""
        now = self._clock()
        with self._lock:
            return {name: rate.at(now) for name, rate in sorted(self._services.get(service, {}).items())}

    def _rate(self, service: str, name: str, now: float) -> _Rate | None:
        operations = self._services.get(service, {})
        if (found := operations.get(name)) is not None:
            return found
        if now >= self._sweep_at:
            self._sweep(now)
            operations = self._services.get(service, {})
        if len(operations) >= _MAX_OPERATIONS or (not operations and len(self._services) >= _MAX_SERVICES):
            return None
        made = operations[name] = _Rate(now, self._window)
        self._services[service] = operations
        return made

    def _sweep(self, now: float) -> None:
        self._sweep_at = now + _SWEEP
        for service, operations in list(self._services.items()):
            for name in [name for name, rate in operations.items() if now - rate.seen > _IDLE]:
                del operations[name]
            if not operations:
                del self._services[service]


def _counts(roots: pa.Table) -> list[float]:
    """How many traces each root stands for."""
    chunk = Chunk(roots)
    kinds, parameters = chunk.attribute("sampler.type"), chunk.attribute("sampler.param")
    counts = roots["adjusted_count"].to_pylist()
    return [
        count if kind is None or count != 1.0 else _jaeger_count(kind, parameter)
        for count, kind, parameter in zip(counts, kinds, parameters, strict=True)
    ]


def _jaeger_count(kind: Any, parameter: Any) -> float:
    """By the tags of Jaeger's clients. What a lower bound has added is in the counts of the others already."""
    if kind == "lowerbound":
        return 0.0
    if kind != "probabilistic":
        return 1.0
    try:
        chance = float(parameter)
    except (TypeError, ValueError):
        return 1.0
    return 1.0 / chance if 1e-9 <= chance <= 1.0 else 1.0


class Observed:
    """A stage that tells `traffic` what was taken."""

    def __init__(self, traffic: Traffic, sink: Stage) -> None:
        self._traffic = traffic
        self._sink = sink

    @property
    def full(self) -> bool:
        """As what is behind it."""
        return self._sink.full

    def submit(self, batch: pa.Table) -> Future[int]:
        """See `Stage.submit`."""
        future = self._sink.submit(batch)
        self._traffic.observe(batch)
        return future

    def close(self) -> None:
        """Close what is behind it."""
        self._sink.close()
