"""What a policy would drop now, and what that frees: nothing is dropped here."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from kai_tracing_backend.keeping import NEVER, Cut, KeepRule, Lot

__all__ = ["DayPlan", "RulePlan", "TenantPlan", "cut_to_size", "plan_tenant"]


@dataclass(frozen=True)
class RulePlan:
    """What of one rule is due; `oldest` and `newest` are starts of spans, None where nothing is."""

    rule: str
    traces: int
    spans: int
    bytes: int
    oldest: int | None
    newest: int | None


@dataclass(frozen=True)
class DayPlan:
    """What of one day is due, of how many spans it has."""

    day: date
    traces: int
    spans: int
    of_spans: int
    bytes: int

    @property
    def whole(self) -> bool:
        """Whether nothing of it is left, so that its file goes as it is."""
        return self.spans == self.of_spans


@dataclass(frozen=True)
class TenantPlan:
    """What is due of a tenant: by rule, and by day, the oldest first. Days of which nothing is due are not there."""

    tenant: str
    cut: Cut
    rules: Sequence[RulePlan]
    days: Sequence[DayPlan]

    @property
    def bytes(self) -> int:
        """About how many bytes the disk has more afterwards."""
        return sum(day.bytes for day in self.days)


def plan_tenant(tenant: str, rules: Sequence[KeepRule], lots: Sequence[Lot], cut: Cut) -> TenantPlan:
    """What a cut takes of a tenant's lots."""
    due = [lot for lot in lots if cut.takes(lot)]
    by_rule = [_of_rule(rule.name, [lot for lot in due if lot.rule == index]) for index, rule in enumerate(rules)]
    days = []
    for day in sorted({lot.day for lot in due}):
        of_day = [lot for lot in due if lot.day == day]
        total = sum(lot.spans for lot in lots if lot.day == day)
        days.append(DayPlan(day, _sum(of_day, "traces"), _sum(of_day, "spans"), total, _sum(of_day, "bytes")))
    return TenantPlan(tenant, cut, by_rule, days)


def _of_rule(name: str, lots: Sequence[Lot]) -> RulePlan:
    return RulePlan(
        name,
        _sum(lots, "traces"),
        _sum(lots, "spans"),
        _sum(lots, "bytes"),
        min((lot.oldest for lot in lots), default=None),
        max((lot.newest for lot in lots), default=None),
    )


def _sum(lots: Sequence[Lot], field: str) -> int:
    return sum(getattr(lot, field) for lot in lots)


def cut_to_size(lots: Mapping[str, Sequence[Lot]], now: int, size: int, max_size: int | None) -> Cut:
    """The cut for `now` that also brings `size` bytes of all tenants below `max_size`, if that can be.

    What has the least to live goes first, and of that the oldest; what is pinned or held never goes.
    """
    cut = Cut(now)
    if max_size is None:
        return cut
    everything = [lot for of_tenant in lots.values() for lot in of_tenant if lot.expires != NEVER]
    excess = size - max_size - sum(lot.bytes for lot in everything if cut.takes(lot))
    waiting = [(lot.expires, lot.slice, lot.bytes) for lot in everything if not cut.takes(lot)]
    heapq.heapify(waiting)
    while excess > 0 and waiting:
        expires, slice_, freed = heapq.heappop(waiting)
        excess -= freed
        cut = Cut(now, expires, slice_)
    return cut
