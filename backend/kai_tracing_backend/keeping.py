"""What retention says to a store: which traces are kept how long, and what is due. Times are nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeAlias

__all__ = ["NEVER", "SLICE", "AttributeTest", "Comparison", "Cut", "Discarded", "Hold", "KeepRule", "Lot", "Pin"]

NEVER = (1 << 63) - 1
"""When something expires that stays."""

SLICE = 600_000_000_000
"""Traces are told apart by age in steps of ten minutes."""

Comparison: TypeAlias = Literal["=", "glob", ">", ">=", "<", "<="]


@dataclass(frozen=True)
class AttributeTest:
    """What an attribute of a span, or of its resource, must be.

    "=" compares with the type, but for numbers: 1 equals 1.0. "glob" is for strings; the others are for numbers.
    """

    key: str
    comparison: Comparison
    value: str | bool | int | float


@dataclass(frozen=True)
class KeepRule:
    """How long a trace is kept that has a span which passes every test here. What is empty or None is not tested.

    `services` and `operations` are globs, one of which must fit. `slowest` is a share: the span is a root, and among
    that share of its operation's calls of the day that took longest.
    """

    name: str
    keep: int
    services: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    error: bool | None = None
    min_duration: int | None = None
    max_duration: int | None = None
    slowest: float | None = None
    attributes: tuple[AttributeTest, ...] = ()
    archive: bool = False


@dataclass(frozen=True)
class Lot:
    """Traces of one day that one rule keeps until the same moment, and that ended in the same ten minutes.

    `day` is whose file the spans are in, `rule` the index of the first rule that fits, `expires` when they may go
    (`NEVER`: pinned or held), `slice` when their last spans began. A trace over midnight has spans in several days and
    counts in `traces` on its last one. `bytes` is their share of the day's file.
    """

    day: date
    rule: int
    expires: int
    slice: int
    traces: int
    spans: int
    bytes: int
    oldest: int
    newest: int


@dataclass(frozen=True)
class Cut:
    """What is due: what expires at `now` or before, and, to get below a size, all up to (`expires`, `slice`)."""

    now: int
    expires: int = -1
    slice: int = -1

    def takes(self, lot: Lot) -> bool:
        """Whether a lot is due."""
        return lot.expires != NEVER and (
            lot.expires <= self.now or (lot.expires, lot.slice) <= (self.expires, self.slice)
        )


@dataclass(frozen=True)
class Discarded:
    """What was dropped: traces, spans on all their days, and what that freed on the disk so far."""

    traces: int = 0
    spans: int = 0
    bytes: int = 0

    def __add__(self, other: Discarded) -> Discarded:
        return Discarded(self.traces + other.traces, self.spans + other.spans, self.bytes + other.bytes)


@dataclass(frozen=True)
class Pin:
    """A trace that stays whatever the policy says; `until` a moment, or until it is unpinned."""

    trace_id: str
    note: str = ""
    created: int = 0
    until: int = NEVER


@dataclass(frozen=True)
class Hold:
    """A day all of whose traces stay until a moment: what was imported or restored."""

    day: date
    until: int
