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
from kai_tracing_backend.testing.store_contract import EVER, NOON, batch, span


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
            cursor.execute(ENDLESS).fetchall()  # type: ignore[attr-defined]

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
