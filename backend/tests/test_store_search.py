"""The embedded store's search: the contract, and what is its own."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from kai_tracing_backend.language import all_of, parse
from kai_tracing_backend.storage.cancellation import Cancellation
from kai_tracing_backend.storage.contract import QueryCancelledError, QueryTimeoutError, SpanStore
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.testing.search_contract import SearchContract
from kai_tracing_backend.testing.store_contract import DAY, EVER, NOON, batch, span


class TestDuckDBSearch(SearchContract):
    """The contract."""

    def open(self, folder: Path) -> SpanStore:
        return DuckDBStore(folder, memory_limit="500MB")


ENDLESS = "SELECT count(*) FROM range(1_000_000_000_000) AS numbers(n) WHERE n % 7 = 3"


@pytest.mark.parametrize("how", ["time", "cancel"])
def test_a_statement_under_way_is_interrupted_and_no_other(tmp_path: Path, how: str) -> None:
    """One that would run for hours ends at once; a read of another thread meanwhile is not touched."""
    store = DuckDBStore(tmp_path)
    store.write(batch(span()))
    reading = store._reading
    began = threading.Event()

    def endless() -> None:
        def read(cursor: object) -> None:
            began.set()
            cursor.execute(ENDLESS).fetchall()

        list(reading.each(reading.days(), read))

    if how == "time":
        with Cancellation(timeout=0.3), pytest.raises(QueryTimeoutError):
            endless()
    else:
        failures: list[BaseException] = []
        cancellation = Cancellation()

        def run() -> None:
            with cancellation:
                try:
                    endless()
                except BaseException as error:
                    failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        assert began.wait(60)
        assert len(store.search(all_of(), *EVER).traces) == 1
        cancellation.cancel()
        thread.join(60)
        assert [type(error) for error in failures] == [QueryCancelledError]
    assert len(store.search(all_of(), *EVER).traces) == 1
    store.close()


def test_many_traces_at_one_moment_are_all_found(tmp_path: Path) -> None:
    """More than are looked at together, all in the same nanosecond: pages lead through all of them."""
    store = DuckDBStore(tmp_path)
    store.write(batch(*(span(number, at=NOON) for number in range(1, 301))))
    found: list[str] = []
    cursor, more = None, True
    while more:
        page = store.search(parse('{ service.name = "a" }'), *EVER, limit=7, cursor=cursor)
        found += [one.summary.trace_id for one in page.traces]
        cursor = page.cursor
        more = cursor is not None
    assert found == [f"{number:032x}" for number in range(1, 301)]
    store.close()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("{ traceDuration > 1h }", 0),
        ("{ name = `rare` && traceDuration > 1ms || traceDuration < 0ns }", 1),
        ("{ rootName = `nobody` }", 0),
        ("{ rootServiceName =~ `b.*` }", 1),
        ("{ name = `rare` } && { service.name = `a` }", 1),
        ("{ service.name = `a` } >> { name = `rare` }", 1),
        ("{ span.n < 300 } > { name = `rare` }", 1),
        ("{ service.name = `a` } > { service.name = `a` }", 1),
        ("{ name = `rare` } &< { service.name = `a` }", 1),
        ("{ service.name = `a` } < { service.name = `b` }", 0),
        ("{ service.name = `a` } | count() > 2", 1),
        ("{ service.name = `a` } | by(name) | count() > 9", 0),
        ("{ service.name = `a` } | avg(duration) > 1h", 0),
        ("{ service.name = `a` } | max(duration) >= 50ms", 1),
        ("{ service.name = `a` } | { span.n > 500 }", 0),
        ("{ service.name = `a` } | { name = `rare` } | select(span.n)", 1),
        ("{ .user = `u7` }", 1),
        ("{ .user = `u7` || span.user =~ `u8|u9` }", 3),
        ("{ .user = `nobody` } && { service.name = `a` }", 0),
    ],
)
def test_only_traces_that_may_be_found_are_read(tmp_path: Path, asked: str, found: int) -> None:
    """Hundreds of traces that a single span of theirs would do for: what a search fetches of them is what it finds."""
    store = DuckDBStore(tmp_path)
    for first in range(0, 400, 40):
        numbers = range(first + 1, first + 41)
        store.write(batch(*(span(number, 1, attributes={"n": number, "user": f"u{number}"}) for number in numbers)))
    store.write(
        batch(
            span(7, 2, 1, duration=50_000_000, attributes={"user": "u7"}),
            span(7, 3, 1, name="rare"),
            span(500, 1, service="b"),
        )
    )
    with Cancellation(max_rows=40):
        assert len(store.search(parse(asked), *EVER).traces) == found
    store.close()


def test_a_trace_in_two_files_is_known_as_a_whole(tmp_path: Path) -> None:
    """Long, numerous and complete only with the spans of both days."""
    store = DuckDBStore(tmp_path)
    midnight = NOON + DAY // 2
    store.write(batch(span(1, 1, at=midnight - 10), span(1, 2, 1, at=midnight + 3_000_000_000, service="b")))
    for asked in (
        "{ traceDuration > 2s }",
        "{ rootServiceName = `a` && service.name = `b` }",
        "{ service.name = `a` } && { service.name = `b` }",
        "{ } | count() = 2",
    ):
        assert len(store.search(parse(asked), *EVER).traces) == 1, asked
        assert len(store.search(parse(asked), midnight, midnight + DAY).traces) == 1, asked
    store.close()


def test_a_neighbouring_file_adds_its_own_traces_only(tmp_path: Path) -> None:
    """Beside a day of hundreds of traces, a search of another reads those alone that are in both."""
    store = DuckDBStore(tmp_path)
    for day in (0, 1):
        store.write(batch(*(span(1_000 * day + number, at=NOON + day * DAY) for number in range(1, 300))))
    store.write(batch(span(5, 2, 1, at=NOON + DAY)))
    with Cancellation(max_rows=40):
        assert store.search(parse("{ rootName = `nobody` }"), *EVER).traces == []
        assert len(store.search(parse("{ traceDuration > 1h }"), *EVER).traces) == 1
    store.close()
