"""The embedded store: the contract, its files, and what happens to them."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kai_tracing_backend.language import parse
from kai_tracing_backend.model import Edge, StoredSpan
from kai_tracing_backend.sketch import quantile
from kai_tracing_backend.storage.contract import SpanStore, StoreError
from kai_tracing_backend.storage.duckdb import files
from kai_tracing_backend.storage.duckdb.attribute_index import segments_with
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.testing.store_contract import DAY, EVER, NOON, SpanStoreContract, batch, span
from kai_tracing_backend.values import dump, load

from tests.support.spans import SPANS, VALUES


class TestDuckDBStore(SpanStoreContract):
    """The contract."""

    def open(self, folder: Path) -> SpanStore:
        return DuckDBStore(folder, memory_limit="500MB")


class _SettledStore(DuckDBStore):
    """A store whose spans are settled as soon as they are written."""

    def write(self, batch: pa.Table, *, counted: bool = True) -> int:
        new = super().write(batch, counted=counted)
        self.settle()
        return new


class TestSettledStore(SpanStoreContract):
    """The contract, where no span is recent."""

    def open(self, folder: Path) -> SpanStore:
        return _SettledStore(folder, memory_limit="500MB")


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """An empty store."""
    opened = DuckDBStore(tmp_path, memory_limit="500MB")
    yield opened
    opened.close()


_NUMBERS = itertools.count(1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SPANS, min_size=1, max_size=5, unique_by=lambda one: one.trace_id))
def test_whatever_a_span_is_it_comes_back(store: DuckDBStore, spans: list[StoredSpan]) -> None:
    """Any spans of any shape in one batch: each is found as it was."""
    # The store remembers the spans of the examples before, and takes none of them twice.
    spans = [replace(one, trace_id=f"{next(_NUMBERS):032x}") for one in spans]
    store.write(batch(*spans))
    for one in spans:
        assert one in store.trace(one.trace_id)


@given(VALUES)
def test_values_as_text(value: Any) -> None:
    """The text of a value gives the value back, of the same types."""
    assert repr(load(dump(value))) == repr(value)


def test_not_a_number_is_one_value_among_others(store: DuckDBStore) -> None:
    """NaN comes back as NaN, alone and nested."""
    store.write(batch(span(attributes={"a": math.nan, "b": [math.nan]})))
    attributes: Any = store.trace("1")[0].attributes
    assert math.isnan(attributes["a"])
    assert math.isnan(attributes["b"][0])


@given(st.lists(st.integers(1, 1 << 50), min_size=1, max_size=200), st.sampled_from([0.01, 0.5, 0.9, 1.0]))
def test_a_quantile_is_within_one_percent(values: list[int], q: float) -> None:
    """Of the value that has that rank, for any values."""
    from kai_tracing_backend.sketch import LN_GAMMA

    sketch: dict[int, float] = {}
    for value in values:
        bucket = math.ceil(math.log(value) / LN_GAMMA)
        sketch[bucket] = sketch.get(bucket, 0.0) + 1.0
    true = sorted(values)[max(0, math.ceil(q * len(values)) - 1)]
    assert quantile(sketch, q) == pytest.approx(true, rel=0.0101)


def test_deleting_a_day_frees_its_disk(tmp_path: Path) -> None:
    """The file and its log are gone at once."""
    store = DuckDBStore(tmp_path)
    store.write(batch(*(span(n, attributes={"x": os.urandom(50).hex()}) for n in range(1, 5_000))))
    before = sum(path.stat().st_size for path in tmp_path.glob("2024*"))
    store.delete_day(date(2024, 10, 4))
    assert before > 100_000
    assert list(tmp_path.glob("2024*")) == []
    store.close()


def test_a_deletion_that_was_interrupted_counts_nothing_twice(store: DuckDBStore, tmp_path: Path) -> None:
    """The rollups were copied, the file was not dropped: after a restart they count once, and it can be deleted."""
    store.write(batch(span(1, 1), span(1, 2, 1, service="b")))
    store._files.drop = lambda file: None
    store.delete_day(date(2024, 10, 4))
    store.close()
    again = DuckDBStore(tmp_path)
    for _ in range(2):
        assert sum(rate.spans for rate in again.rates(*EVER)) == 2
        assert [edge.calls for edge in again.dependencies(*EVER)] == [1]
        again.delete_day(date(2024, 10, 4))
    again.close()


def _python(code: str, *arguments: object, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_a_second_process_is_told_who_has_the_folder(store: DuckDBStore, tmp_path: Path) -> None:
    """A clear message, and the first process goes on."""
    answer = _python(
        """
        import sys, pathlib
        from kai_tracing_backend.storage.contract import StoreError
        from kai_tracing_backend.storage.duckdb.store import DuckDBStore
        try:
            DuckDBStore(pathlib.Path(sys.argv[1]))
        except StoreError as error:
            print(error)
        """,
        tmp_path,
    )
    assert "in use by another process" in answer.stdout, answer.stderr
    assert store.write(batch(span())) == 1


def test_a_newer_file_is_refused_and_an_older_one_upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the file and the remedy; nothing is changed. A migration runs once."""
    DuckDBStore(tmp_path).close()
    migrated: list[str] = []
    monkeypatch.setattr(files, "VERSION", 4)
    monkeypatch.setattr(files, "_MIGRATIONS", {3: "migrate"})

    def statement(name: str, **parts: str) -> str:
        migrated.append(name)
        return "CREATE TABLE extra (x INTEGER)"

    with monkeypatch.context() as patch:
        patch.setattr(files, "statement", statement)
        DuckDBStore(tmp_path).close()
        DuckDBStore(tmp_path).close()
    assert migrated == ["migrate"]
    monkeypatch.undo()
    with pytest.raises(StoreError, match=r"history.duckdb was written by a newer.*Upgrade"):
        DuckDBStore(tmp_path)


# How the rows of a store of today come into the tables of an older version.
_FILLED = {
    1: """
        INSERT INTO spans BY NAME SELECT * EXCLUDE (segment) FROM new.spans_settled;
        INSERT INTO rates FROM new.rates;
        INSERT INTO edges SELECT minute, parent, child, 1, 1, 0 FROM new.edges
    """,
    2: """
        INSERT INTO spans FROM new.spans_settled;
        INSERT INTO traces FROM new.traces_settled;
        INSERT INTO segments FROM new.segments;
        INSERT INTO attributes_recent FROM new.attribute_index;
        INSERT INTO rates_recent FROM new.rates;
        INSERT INTO edges_recent FROM new.edges
    """,
}


@pytest.mark.parametrize("version", [1, 2])
def test_files_of_older_versions_are_upgraded(tmp_path: Path, version: int) -> None:
    """Spans, rates and edges of tables as they were are there, indexed, and can be added to and deleted."""
    old = Path(__file__).with_name(f"version_{version}")
    now = tmp_path / "now"
    with closing(DuckDBStore(now)) as store:
        store.write(batch(*(span(n, n, attributes={"user": f"u-{n}"}) for n in range(1, 10_000))))
        store.write(batch(span(1, 10_001, 1, service="b")))
        store.settle()
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{now / '2024-10-04.duckdb'}' AS new (READ_ONLY)")
        for name, created in (("2024-10-04", "create_day.sql"), ("history", "create_history.sql")):
            connection.execute(f"ATTACH '{tmp_path / name}.duckdb' AS old")
            connection.execute("USE old")
            connection.execute((old / created).read_text())
            if name != "history":
                connection.execute("INSERT INTO resources FROM new.resources; INSERT INTO scopes FROM new.scopes")
                connection.execute(_FILLED[version])
            connection.execute("USE memory; DETACH old")
    with closing(DuckDBStore(tmp_path)) as store:
        assert store.write(batch(span(1, 1, attributes={"user": "u-1"}), span(1, 10_002, 1, service="c"))) == 1
        for _ in range(2):
            assert [int(found.span_id, 16) for found in store.trace("1")] == [1, 10_001, 10_002]
            expected = [Edge("a", "b", 1, 1.0, 0), Edge("a", "c", 1, 1.0, 0)]
            assert store.dependencies(*EVER) == expected
            assert sum(rate.spans for rate in store.rates(*EVER)) == 10_001
            (day,) = store.statistics()
            assert (day.spans, day.traces) == (10_001, 9_999)
            store.settle()
        with store._files.cursor("day_20241004") as cursor:
            assert segments_with(cursor, "user", "u-9000") == [1]
        store.delete_day(date(2024, 10, 4))
        assert store.dependencies(*EVER) == expected
        assert sum(rate.spans for rate in store.rates(*EVER)) == 10_001


def test_a_log_of_large_spans_is_written_into_the_file(store: DuckDBStore, tmp_path: Path) -> None:
    """However few spans it is: else a restart would read it all again, and the disk hold it twice."""
    log = tmp_path / "2024-10-04.duckdb.wal"
    for number in range(1, 81):
        store.write(batch(span(number, attributes={"noise": os.urandom(500_000).hex()})))
        if log.stat().st_size > 64 << 20:
            break
    deadline = time.monotonic() + 60
    while log.exists() and log.stat().st_size > 1 << 20:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(store.trace(f"{number:x}")) == 1


def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    """Another DuckDB file, and one that is not DuckDB's at all, each with a message that names it."""
    path = tmp_path / "2024-10-04.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE x (y INTEGER)")
    with pytest.raises(StoreError, match=path.name):
        DuckDBStore(tmp_path)
    path.write_bytes(b"hello" * 10_000)
    with pytest.raises(StoreError, match=path.name):
        DuckDBStore(tmp_path)


def test_a_full_disk_loses_nothing_and_is_over_when_there_is_room(tmp_path: Path) -> None:
    """Writes fail with StoreFullError while files cannot grow, and succeed when they can; what was stored is there."""
    answer = _python(
        """
        import os, pathlib, resource, signal, sys
        from kai_tracing_backend.storage.contract import StoreFullError
        from kai_tracing_backend.storage.duckdb.store import DuckDBStore
        from kai_tracing_backend.testing.store_contract import batch, span
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store = DuckDBStore(pathlib.Path(sys.argv[1]))
        number, stored = 0, []
        def write():
            global number
            spans = [span(number * 1000 + n, n + 1, attributes={"x": os.urandom(100).hex()}) for n in range(1, 500)]
            number += 1
            store.write(batch(*spans))
            stored.extend(one.trace_id for one in spans)
        write()
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
        full = 0
        while full < 3:
            assert number < 200
            try:
                write()
            except StoreFullError:
                full += 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        write()
        store.close()
        store = DuckDBStore(pathlib.Path(sys.argv[1]))
        assert sum(rate.spans for rate in store.rates(0, 1 << 62)) == len(stored)
        assert all(store.trace(stored[index]) for index in range(0, len(stored), 100))
        print("all there:", len(stored))
        """,
        tmp_path,
    )
    assert "all there" in answer.stdout, answer.stderr


def test_reading_while_a_day_is_written_and_deleted(store: DuckDBStore) -> None:
    """Readers in other threads never fail, whatever day goes away under them."""
    import threading

    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        while not stop.is_set():
            try:
                store.search(parse("{}"), *EVER)
                store.trace("1")
                store.rates(*EVER)
            except BaseException as error:
                failures.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for n in range(10):
            store.write(batch(*(span(m, n + 1) for m in range(1, 50))))
            store.delete_day(date(2024, 10, 4))
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert failures == []


def test_a_broken_file_comes_with_the_way_out(tmp_path: Path) -> None:
    """The message names the file and what moving it away costs; without it the other days are there."""
    store = DuckDBStore(tmp_path)
    store.write(batch(span(1), span(2, at=NOON + DAY)))
    store.close()
    (tmp_path / "2024-10-04.duckdb").write_bytes(b"rubbish" * 2_000)
    with pytest.raises(
        StoreError, match=r"2024-10-04.duckdb cannot be opened: .* move it away: all but the spans of 2024"
    ):
        DuckDBStore(tmp_path)
    (tmp_path / "2024-10-04.duckdb").rename(tmp_path / "broken")
    store = DuckDBStore(tmp_path)
    assert (len(store.trace("1")), len(store.trace("2"))) == (0, 1)
    store.close()
