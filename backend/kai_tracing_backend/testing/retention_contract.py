"""How every span store must forget: subclass `RetentionContract`, say how to open the store, and pytest runs it all."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kai_tracing_backend.columns import BATCH, to_span
from kai_tracing_backend.keeping import NEVER, AttributeTest, Cut, KeepRule, Lot
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.storage.contract import SpanStore
from kai_tracing_backend.testing.store_contract import DAY, EVER, MINUTE, NOON, OpenedStore, batch, span
from kai_tracing_core.testing.suite import needs

__all__ = ["RetentionContract", "rule"]

TODAY = date(2024, 10, 4)
MIDNIGHT = NOON + DAY // 2
"""The end of that day."""
REST = KeepRule("rest", 7 * DAY)


def rule(keep: int = 30, **tests: Any) -> KeepRule:
    """A rule that keeps for so many days."""
    return KeepRule("chosen", keep * DAY, **tests)


def after(days: int) -> Cut:
    """What is due so many days after the end of the day."""
    return Cut(MIDNIGHT + days * DAY)


class RetentionContract(OpenedStore, contract=True):
    """The tests."""

    def _left(self, store: SpanStore) -> list[int]:
        return [number for number in range(1, 20) if store.trace(f"{number:x}")]

    # -- rules -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("tests", "kept"),
        [
            ({"services": ("shop*",)}, [1, 2]),
            ({"services": ("cart", "shop-?")}, [2, 3]),
            ({"operations": ("GET /health*",)}, [1]),
            ({"error": True}, [2]),
            ({"error": False}, [1, 3, 4, 5]),
            ({"min_duration": 5_000_000}, [3]),
            ({"max_duration": 1_000}, [2]),
            ({"services": ("shop*",), "error": True}, [2]),
            ({"services": ("cart",), "error": True}, []),
            ({"attributes": (AttributeTest("user", "=", "7"),)}, [1]),
            ({"attributes": (AttributeTest("user", "=", 7),)}, [2, 4]),
            ({"attributes": (AttributeTest("user", "=", True),)}, [3]),
            ({"attributes": (AttributeTest("http.route", "glob", "/api/*"),)}, [3]),
            ({"attributes": (AttributeTest("http.response.status_code", ">=", 500),)}, [2]),
            ({"attributes": (AttributeTest("http.response.status_code", "<", 500.5),)}, [2, 3]),
            ({"attributes": (AttributeTest("http.response.status_code", "=", "500"),)}, [1]),
            ({"attributes": (AttributeTest("tier", "=", "gold"),)}, [4]),
            ({"attributes": (AttributeTest("load", ">", 0),)}, []),
            ({"attributes": (AttributeTest("pods", ">", 2), AttributeTest("tier", "glob", "g*"))}, [4]),
            ({"attributes": (AttributeTest("\"'; DROP TABLE spans; --", "=", "x"),)}, []),
        ],
    )
    def test_a_rule_finds_traces_with_a_span_that_passes_every_test(
        self, store: SpanStore, tests: dict[str, Any], kept: list[int]
    ) -> None:
        """Services and operations by glob, status, duration, attributes by type, of the span or of its resource."""
        routes = {"http.route": "/api/cart", "http.response.status_code": 404}
        store.write(
            batch(
                span(
                    1, service="shop", name="GET /healthz", attributes={"user": "7", "http.response.status_code": "500"}
                ),
                span(
                    2,
                    service="shop-a",
                    status=2,
                    duration=1_000,
                    attributes={"user": 7, "http.response.status_code": 500},
                ),
                span(3, service="cart", duration=5_000_000, attributes={"user": True, **routes}),
                span(4, service="a", attributes={"user": 7.0}, resource={"tier": "gold", "pods": 3}),
                span(5, service="b", duration=2_000, attributes={"load": math.nan}, resource={"pods": math.nan}),
            )
        )
        store.retention.discard(TODAY, [rule(**tests), REST], after(7))
        assert self._left(store) == kept

    def test_the_first_rule_that_fits_decides(self, store: SpanStore) -> None:
        """For each trace once, however many rules its spans pass."""
        store.write(batch(span(1, 1, status=2), span(1, 2, 1, service="b"), span(2, 1, service="b"), span(3, 1)))
        rules = [rule(1, services=("b",)), rule(30, error=True), REST]
        lots = store.retention.survey(rules)
        assert [(lot.rule, lot.traces, lot.spans) for lot in _merged(lots)] == [(0, 2, 3), (2, 1, 1)]
        assert {(lot.rule, lot.expires) for lot in lots} == {(0, MIDNIGHT + DAY), (2, MIDNIGHT + 7 * DAY)}

    def test_the_slowest_stay_the_slowest_when_the_others_have_gone(self, store: SpanStore) -> None:
        """The share is of the operation's calls of the day, of roots; what is kept is not judged anew."""
        store.write(
            batch(
                *(span(n, duration=n * 1_000_000) for n in range(1, 401)),
                *(span(500 + n, duration=1_000, name="even") for n in range(50)),
                span(600, duration=9, name="rare"),
                span(1, 2, 1, duration=MINUTE),
            )
        )
        rules = [rule(slowest=0.01), REST]
        for days in (7, 8, 9):
            store.retention.discard(TODAY, rules, after(days))
        left = [n for n in range(1, 601) if store.trace(f"{n:x}")]
        assert left[0] in (397, 398)  # of one bucket of the sketch all or none
        assert left[-2:] == [400, 600]

    # -- whole traces ------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("failed", [0, 1, 2])
    def test_a_trace_over_midnight_is_kept_or_dropped_as_a_whole(self, store: SpanStore, failed: int) -> None:
        """Whichever day the span is on that passes the rule; counted from the end of the last day."""
        for number, at in enumerate((NOON, NOON + DAY, NOON + 3 * DAY)):
            store.write(batch(span(1, number + 1, at=at, status=2 if number == failed else 0), span(9 + number, at=at)))
        rules = [rule(30, error=True), REST]
        for day in store.days():
            store.retention.discard(day, rules, after(20))
        assert self._left(store) == [1]
        assert len(store.trace("1")) == 3
        assert sum(lot.traces for lot in store.retention.survey(rules)) == 1
        for day in store.days():
            assert store.retention.discard(day, rules, after(32)).spans == 0
        dropped = store.retention.discard(TODAY, rules, after(33))
        assert (dropped.traces, dropped.spans) == (1, 3)
        assert self._left(store) == []

    def test_what_is_dropped_is_in_no_answer_and_its_rollups_stay(self, store: SpanStore, tmp_path: Path) -> None:
        """Also after a restart, and after the file was made smaller; late spans are stored as ever."""
        store.write(batch(span(1, 1, status=2), span(1, 2, 1, service="b"), span(2, 1), span(2, 2, 1, service="c")))
        rates, edges = store.rates(*EVER), store.dependencies(*EVER)
        rules = [rule(30, error=True), REST]
        dropped = store.retention.discard(TODAY, rules, after(7))
        assert (dropped.traces, dropped.spans) == (1, 2)
        store.retention.compact(TODAY, 0.0)
        again = self.reopened(store, tmp_path)
        try:
            assert self._left(again) == [1]
            assert (again.rates(*EVER), again.dependencies(*EVER)) == (rates, edges)
            again.write(batch(span(2, 3, 1), span(1, 1, status=2)))
            assert self._left(again) == [1, 2]
            assert len(again.trace("1")) == 2
            again.retention.discard(TODAY, rules, after(30))
            assert again.days() == []
            assert again.dependencies(*EVER) == edges
        finally:
            again.close()

    def test_a_cut_takes_the_oldest_of_what_has_the_least_to_live(self, store: SpanStore) -> None:
        """To get below a size: by remaining life, then by age; what is pinned is never taken."""
        hour = 60 * MINUTE
        store.write(batch(*(span(n, at=NOON + n * hour, status=2 if n > 4 else 0) for n in range(1, 9))))
        store.retention.marks.pin(f"{1:032x}", "")
        rules = [rule(30, error=True), REST]
        third = [lot for lot in store.retention.survey(rules) if lot.rule == 1 and lot.expires != NEVER][1]
        cut = Cut(NOON, third.expires, third.slice)
        store.retention.discard(TODAY, rules, cut)
        assert self._left(store) == [1, 4, 5, 6, 7, 8]

    # -- what stays --------------------------------------------------------------------------------------------------

    def test_pinned_traces_stay_until_they_are_unpinned(self, store: SpanStore, tmp_path: Path) -> None:
        """Whatever the rules say, over a restart, on all of their days; the note can be changed."""
        store.write(batch(span(1, 1), span(1, 2, 1, at=NOON + DAY), span(2, 1), span(3, 1)))
        marks = store.retention.marks
        marks.pin(f"{1:032x}", "why")
        marks.pin(f"{2:032x}", "for a moment", until=1)
        assert [(pin.trace_id, pin.note) for pin in marks.pins()] == [(f"{1:032x}", "why")]
        assert marks.pin(f"{1:032x}", "because").until == NEVER
        again = self.reopened(store, tmp_path)
        try:
            for day in again.days():
                again.retention.discard(day, [REST], after(99))
            assert self._left(again) == [1]
            assert len(again.trace("1")) == 2
            assert [pin.note for pin in again.retention.marks.pins()] == ["because"]
            assert again.retention.marks.unpin(f"{1:032x}")
            assert not again.retention.marks.unpin(f"{1:032x}")
            again.retention.discard(TODAY, [REST], after(99))
            assert self._left(again) == []
        finally:
            again.close()

    def test_a_held_day_keeps_its_traces_for_the_time_being(self, store: SpanStore) -> None:
        """All of them, with their spans on other days."""
        store.write(batch(span(1, 1), span(1, 2, 1, at=NOON + DAY), span(2, 1, at=NOON + DAY)))
        store.retention.marks.hold(TODAY, time.time_ns() + DAY)
        store.retention.marks.hold(TODAY, 5)
        assert [hold.day for hold in store.retention.marks.holds()] == [TODAY]
        for day in store.days():
            store.retention.discard(day, [REST], after(99))
        assert self._left(store) == [1]
        assert len(store.trace("1")) == 2

    # -- what is told ------------------------------------------------------------------------------------------------

    @needs("archiving")
    def test_what_goes_is_given_away_first_where_the_rule_says_so(self, store: SpanStore) -> None:
        """Every span of such a trace as it was, by day; nothing of others."""
        rich = span(1, 2, 1, at=NOON + DAY, status=2, attributes={"n": 1, "l": ["x"]}, resource={"service.name": "b"})
        given: dict[date, list[StoredSpan]] = {}

        def take(day: date, reader: pa.RecordBatchReader) -> None:
            table = reader.read_all()
            assert set(table.column_names) == set(BATCH.names)
            given.setdefault(day, []).extend(to_span(row) for row in table.to_pylist())

        store.write(batch(span(1, 1), rich, span(2, 1)))
        before = store.trace("1")
        store.retention.discard(TODAY, [rule(3, error=True, archive=True), REST], after(50), take)
        assert given == {TODAY: before[:1], date(2024, 10, 5): before[1:]}
        assert self._left(store) == []

    def test_a_survey_knows_what_was_written_since(self, store: SpanStore) -> None:
        """And what was pinned; nothing is dropped by it."""
        store.write(batch(span(1)))
        assert sum(lot.spans for lot in store.retention.survey([REST])) == 1
        store.write(batch(span(2), span(3)))
        assert sum(lot.spans for lot in store.retention.survey([REST])) == 3
        store.retention.marks.pin(f"{2:032x}", "")
        assert {lot.expires for lot in store.retention.survey([REST])} == {NEVER, MIDNIGHT + 7 * DAY}
        (lot, *_) = store.retention.survey([rule(1, error=False), REST], [TODAY])
        assert (lot.day, lot.oldest, lot.newest) == (TODAY, NOON, NOON)
        assert self._left(store) == [1, 2, 3]

    def test_old_rollups_go_and_younger_ones_stay(self, store: SpanStore) -> None:
        """Those of days whose spans are gone."""
        store.write(batch(span(1), span(2, at=NOON + DAY)))
        store.delete_day(TODAY)
        store.delete_day(date(2024, 10, 5))
        assert store.retention.expire_rollups(NOON + DAY // 2) >= 1
        assert [rate.spans for rate in store.rates(*EVER)] == [1]

    def test_the_store_says_how_large_it_is(self, store: SpanStore) -> None:
        """More when there is more in it."""
        before = store.retention.bytes()
        store.write(batch(*(span(n, attributes={"x": f"{n * 7**99:x}"}) for n in range(1, 5_000))))
        assert store.retention.bytes() > before + 100_000


def _merged(lots: Sequence[Lot]) -> list[Any]:
    found: dict[int, Any] = {}
    for lot in lots:
        one = found.setdefault(lot.rule, type("Sum", (), {"rule": lot.rule, "traces": 0, "spans": 0})())
        one.traces += lot.traces
        one.spans += lot.spans
    return [found[index] for index in sorted(found)]
