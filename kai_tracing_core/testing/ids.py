"""Ids and times that are the same in every run."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

__all__ = ["FixedClock", "FixedIds"]


class FixedIds:
    """Trace ids and span ids that count up from `start`: an `IdGenerator` for `PipelineConfig.ids`."""

    def __init__(self, start: int = 1) -> None:
        self.trace_id: Callable[[], int] = count(start).__next__
        self.span_id: Callable[[], int] = count(start).__next__


class FixedClock:
    """A clock for `PipelineConfig.clock` that moves only when told, or by `step` seconds each time it is read.

    `now` is in nanoseconds since the epoch.
    """

    def __init__(self, now: int = 1_700_000_000_000_000_000, *, step: float = 0.0) -> None:
        self.now = now
        self._step = round(step * 1e9)

    def __call__(self) -> int:
        """The time, in nanoseconds since the epoch."""
        now = self.now
        self.now += self._step
        return now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.now += round(seconds * 1e9)
