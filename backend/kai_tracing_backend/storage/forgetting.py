"""The part of the store's contract that retention needs; `testing.retention_contract` has its tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Protocol

import pyarrow as pa

from kai_tracing_backend.keeping import Cut, Discarded, Hold, KeepRule, Lot, Pin

__all__ = ["Marking", "Retention"]


class Marking(Protocol):
    """Which traces are pinned and which days are held: they stay whatever the policy says. It outlives a restart."""

    def pins(self) -> list[Pin]:
        """The traces that are pinned now, the newest pin first."""

    def pin(self, trace_id: str, note: str, until: int = ...) -> Pin:
        """Pin a trace of 32 hexadecimal digits, or change its note; a pin does not become shorter by that.

        Raises:
            ValueError: too many are pinned.
        """

    def unpin(self, trace_id: str) -> bool:
        """Whether it was pinned."""

    def holds(self) -> list[Hold]:
        """The days that are held now, by day."""

    def hold(self, day: date, until: int) -> None:
        """Keep all traces that have a span on this day until a moment; never for shorter than before."""


class Retention(Protocol):
    """How a store forgets. One call works at a time; readers and writers go on meanwhile.

    Rules are looked at in their order, and the last one must be passed by every span. A trace is kept as long as the
    first rule says that one of its spans passes, from the end of the day (UTC) of its last span; it is kept and dropped
    as a whole, on whichever days its spans are.
    """

    @property
    def marks(self) -> Marking:
        """What stays whatever the rules say."""

    def bytes(self) -> int:
        """What the store takes on the disk, less what it can fill again without growing."""

    def survey(self, rules: Sequence[KeepRule], days: Sequence[date] | None = None) -> list[Lot]:
        """What each rule keeps until when, of these days or of all."""

    def discard(
        self,
        day: date,
        rules: Sequence[KeepRule],
        cut: Cut,
        keep_copy: Callable[[date, pa.RecordBatchReader], None] | None = None,
    ) -> Discarded:
        """Drop the traces of a day that are due, their spans on other days, too.

        `keep_copy` gets what is dropped by a rule with `archive` before that: a day and its spans as `columns.BATCH`
        has them, sorted by trace. Rates and dependencies stay. Where the whole day is due, its disk is free afterwards.
        """

    def compact(self, day: date, least: float) -> int | None:
        """Give the room of what was dropped from a day back, where it is a share of at least `least` of its file.

        Returns how many bytes less there are, None where it was not worth it or the day was written to meanwhile.
        Nothing that is written is lost, whenever the process dies.
        """

    def expire_rollups(self, before: int) -> int:
        """Forget rates and dependencies before a moment, of days whose spans are gone. Returns how many rows."""
