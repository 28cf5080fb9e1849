"""What every span store must find: subclass `SearchContract` and say how to open the store."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kai_tracing_backend.language import all_of, parse
from kai_tracing_backend.language.evaluation import find
from kai_tracing_backend.language.nodes import TraceQuery
from kai_tracing_backend.model import FoundTrace, ServiceCount, StoredSpan
from kai_tracing_backend.storage.cancellation import Cancellation
from kai_tracing_backend.storage.contract import (
    QueryCancelledError,
    QueryTimeoutError,
    QueryTooLargeError,
    SpanStore,
)
from kai_tracing_backend.testing.queries import QUERIES, SHAPES
from kai_tracing_backend.testing.store_contract import DAY, EVER, NOON, OpenedStore, batch, span
from kai_tracing_backend.testing.traces import MIDNIGHT, random_traces
from kai_tracing_core.testing.suite import needs

__all__ = ["SearchContract"]

_SECOND = 1_000_000_000
_EVERYTHING = 1_000_000


class SearchContract(OpenedStore, contract=True):
    """The tests."""

    @pytest.mark.parametrize("seed", [1, 2])
    def test_search_agrees_with_the_reference(self, store: SpanStore, seed: int) -> None:
        """Random traces around midnight, random queries: the same traces, spans and groups, in order, on all pages."""
        traces = random_traces(seed, 50)
        for first in range(0, len(traces), 10):
            store.write(batch(*(one for trace in traces[first : first + 10] for one in trace)))

        @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(
            QUERIES,
            st.sampled_from(
                [(0, 1 << 62), (MIDNIGHT - 2 * _SECOND, MIDNIGHT + _SECOND), (MIDNIGHT, MIDNIGHT + 3 * _SECOND)]
            ),
            st.sampled_from([7, 500]),
        )
        def agrees(query: TraceQuery, window: tuple[int, int], limit: int) -> None:
            _agrees(store, traces, query, window, limit)

        agrees()

    def test_every_shape_of_a_query_agrees_with_the_reference(self, store: SpanStore) -> None:
        """Each operator and aggregate, pipelines, numbers of children: what can be asked in a store's own way."""
        traces = random_traces(3, 60)
        store.write(batch(*(one for trace in traces for one in trace)))
        for text in SHAPES:
            _agrees(store, traces, parse(text), (0, 1 << 62), 1_000)

    # -- search ------------------------------------------------------------------------------------------------------

    def test_search_is_newest_first_and_limited(self, store: SpanStore) -> None:
        """Over days; a trace is there once, with its root's name and all its spans."""
        for n in range(1, 7):
            at = NOON + n * DAY // 2
            store.write(
                batch(
                    span(n, 2, 1, at=at + 5, service="b", name="child", status=2),
                    span(n, 1, at=at, name=f"root{n}", duration=100),
                )
            )
        found = [one.summary for one in store.search(all_of(), *EVER, limit=4).traces]
        assert [summary.name for summary in found] == ["root6", "root5", "root4", "root3"]
        assert (found[0].service, found[0].spans, found[0].errors) == ("a", 2, 1)
        assert (found[0].start_time, found[0].duration) == (NOON + 3 * DAY, 1_000_005)
        assert found[0].services == {"a": ServiceCount(1, 0), "b": ServiceCount(1, 1)}
        assert len(store.search(all_of(), *EVER, limit=100).traces) == 6
        page = store.search(all_of(), NOON + DAY, NOON + DAY + 6)
        assert [one.summary.name for one in page.traces] == ["root2"]

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ('service.name = "b"', [2]),
            ('name = "slow"', [3]),
            ("duration >= 5ms", [3]),
            ("duration <= 1us", [2]),
            ("status = error", [2]),
            ("status != error", [1, 3]),
            ('span.user = "7"', [1]),
            ("span.user = 7", [2]),
            ("span.user = 7.5", [3]),
            ("span.user = true", []),
            ('span.http.route = "/a" && span.ok', [3]),
            ("span.http.response.status_code = 500", [2]),
            ('span.http.response.status_code = "500"', [1]),
            ('service.name = "b" && name = "slow"', []),
            ("service.name = `'; DROP TABLE spans; --`", []),
            (r"""span."\"'; --" = "x" """, []),
        ],
    )
    def test_search_finds_what_was_asked_for(self, store: SpanStore, asked: str, found: list[int]) -> None:
        """Every condition alone, values by their type, conditions together on one span."""
        store.write(
            batch(
                span(1, attributes={"user": "7", "http.route": "/a", "http.response.status_code": "500"}),
                span(
                    2,
                    service="b",
                    status=2,
                    duration=1_000,
                    attributes={"user": 7, "ok": True, "http.response.status_code": 500},
                ),
                span(3, name="slow", duration=5_000_000, attributes={"user": 7.5, "ok": True, "http.route": "/a"}),
            )
        )
        page = store.search(parse(f"{{ {asked} }}"), *EVER)
        assert sorted(int(one.summary.trace_id, 16) for one in page.traces) == found

    def test_pages_neither_repeat_nor_skip_when_newer_spans_come(self, store: SpanStore) -> None:
        """Turning the pages while traces arrive, and while traces that were not shown yet get more spans."""
        store.write(batch(*(span(n, 1, at=NOON + n % 3) for n in range(1, 8))))
        shown: list[int] = []
        cursor: str | None = None
        for turn in range(1, 5):
            page = store.search(all_of(), *EVER, limit=2, cursor=cursor)
            shown += [int(one.summary.trace_id, 16) for one in page.traces]
            cursor = page.cursor
            store.write(batch(*(span(n, 1 + turn, at=NOON + 10 + turn) for n in (1, 4, 7, 100 + turn))))
        assert cursor is None
        assert sorted(shown) == list(range(1, 8))

    def test_a_cursor_of_somebody_else_is_refused(self, store: SpanStore) -> None:
        """With a ValueError, which is not a fault of the store."""
        with pytest.raises(ValueError, match="cursor"):
            store.search(all_of(), *EVER, cursor="'; --")

    # -- bounds ------------------------------------------------------------------------------------------------------

    @needs("interruptible")
    def test_reads_have_a_time_and_can_be_cancelled(self, store: SpanStore) -> None:
        """Reads end with an error that says what to do; after the bounds all is as before."""
        store.write(batch(span(1), span(2)))
        with Cancellation(timeout=0), pytest.raises(QueryTimeoutError, match="shorter window"):
            store.search(all_of(), *EVER)
        with Cancellation(max_rows=1), pytest.raises(QueryTooLargeError, match="more than 1 rows"):
            store.search(all_of(), *EVER)
        with Cancellation() as cancellation:
            assert store.services() == ["a"]
            cancellation.cancel()
            with pytest.raises(QueryCancelledError):
                store.services()
        with Cancellation(timeout=60, max_rows=1_000):
            assert len(store.search(all_of(), *EVER).traces) == 2


def _agrees(
    store: SpanStore, traces: list[list[StoredSpan]], query: TraceQuery, window: tuple[int, int], limit: int
) -> None:
    """What the store answers, on all pages, is what the reference finds."""
    found: list[FoundTrace] = []
    cursor, more = None, True
    while more:
        page = store.search(query, *window, limit=limit, cursor=cursor, spans_per_set=_EVERYTHING)
        found += page.traces
        cursor = page.cursor
        more = cursor is not None
    assert repr(found) == repr(_expected(query, traces, *window)), query  # as text NaN is NaN


def _expected(query: TraceQuery, traces: list[list[StoredSpan]], start: int, end: int) -> list[FoundTrace]:
    found: list[tuple[Any, FoundTrace]] = []
    for trace in traces:
        if (one := find(query, trace, _EVERYTHING)) is None:
            continue
        starts = [span.start_time for group in one.sets for span in group.spans]
        if inside := [at for at in starts if start <= at < end]:
            found.append(((-min(inside), one.summary.trace_id), one))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]
