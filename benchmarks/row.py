"""A row of the table: what is measured, against what, and what it may cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Row"]

Case = Callable[[], float]
"""Measures itself, with a helper of `measure`, and returns the figure; runs alone in a process of its own."""


@dataclass(frozen=True)
class Row:
    """One line of the table. A group of rows is a module under `rows/` with a list `ROWS`.

    `budget` is the largest ratio of `ours` to `peer` that is within plan; `limit` the largest figure, in `unit`.
    `beside` are other peers, shown for comparison. `counted` says that instructions can be counted, too.
    """

    name: str
    ours: Case
    peer: Case
    peer_name: str
    budget: float | None = None
    limit: float | None = None
    unit: str = "ns"
    beside: tuple[tuple[str, Case], ...] = ()
    counted: bool = True

    @property
    def cases(self) -> tuple[Case, ...]:
        """All that has to be run for it."""
        return (self.ours, self.peer, *(case for _, case in self.beside))
