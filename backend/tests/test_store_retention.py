"""How the embedded store forgets: the contract, its disk, and what a crash leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from kai_tracing_backend.keeping import Cut, KeepRule
from kai_tracing_backend.storage.contract import SpanStore, StoreError
from kai_tracing_backend.storage.duckdb import compacting, retention
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.testing.retention_contract import MIDNIGHT, REST, TODAY, RetentionContract, after, rule
from kai_tracing_backend.testing.store_contract import DAY, NOON, batch, span

RULES = [rule(30, error=True), REST]


class TestDuckDBRetention(RetentionContract):
    """The contract."""

    def open(self, folder: Path) -> SpanStore:
        return DuckDBStore(folder, memory_limit="500MB")


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """An empty store."""
    opened = DuckDBStore(tmp_path, memory_limit="500MB")
    yield opened
    opened.close()


def test_a_copy_takes_the_place_of_a_file_that_somebody_has_open(store: DuckDBStore, tmp_path: Path) -> None:
    """DuckDB attaches a file again only when the last connection to it as it was is closed: that is waited for."""
    store.write(batch(span(1, 1)))
    files, copy = store._files, tmp_path / "copy"
    (file,) = files.days.values()
    with files.cursor(file.name) as cursor:
        cursor.execute("CHECKPOINT")
    shutil.copy(file.path, copy)
    held = files._connection.cursor()
    held.execute(f'USE "{file.name}"')
    held.execute("BEGIN")
    held.execute("SELECT count(*) FROM spans").fetchall()
    closing = threading.Timer(0.3, held.close)
    closing.start()
    try:
        assert files.replace(file, copy)
    finally:
        closing.join()
    assert len(store.trace("1")) == 1
    assert store.write(batch(span(1, 2))) == 1


def fill(store: SpanStore, traces: int = 8_000) -> None:
    """A day of traces that do not compress, one in ten with an error."""
    for first in range(1, traces, 2_000):
        store.write(
            batch(
                *(
                    span(n, at=NOON + n, status=2 if n % 10 == 0 else 0, attributes={"x": os.urandom(300).hex()})
                    for n in range(first, first + 2_000)
                )
            )
        )


def on_disk(folder: Path) -> int:
    """Bytes of the day's files."""
    return sum(path.stat().st_size for path in folder.glob("2024*"))


def test_dropping_part_of_a_day_frees_its_disk(store: DuckDBStore, tmp_path: Path) -> None:
    """Measured: nine tenths of the spans go, and most of the file goes with them; the rest is there."""
    fill(store)
    before = on_disk(tmp_path)
    assert store.retention.compact(TODAY, 0.2) is None  # nothing to free
    dropped = store.retention.discard(TODAY, RULES, after(7))
    assert (dropped.traces, dropped.spans) == (7_200, 7_200)
    freed = store.retention.compact(TODAY, 0.2)
    assert freed is not None
    assert freed > 0
    assert on_disk(tmp_path) < before / 3
    assert [n for n in range(1, 200) if store.trace(f"{n:x}")] == list(range(10, 200, 10))
    assert store.retention.compact(TODAY, 0.2) is None
    assert list(tmp_path.glob("*compacting*")) == []


def test_a_file_that_goes_meanwhile_has_no_size(store: DuckDBStore, tmp_path: Path) -> None:
    """A log that a checkpoint removes, or a copy, while the files are looked at: the size is that of the others."""
    store.write(batch(span(1)))
    before = store.retention.bytes()
    for name in ("2024-10-05.duckdb.wal", "2024-10-04.duckdb.compacting.wal"):
        (tmp_path / name).symlink_to(tmp_path / "gone")
    assert store.retention.bytes() == before


def test_a_trace_in_several_steps_is_judged_as_a_whole(store: DuckDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its spans are far from one another in the file, and only the last has an error: all of them stay."""
    monkeypatch.setattr(retention, "_JUDGED", 1)
    for number in (1, 2, 3):
        store.write(batch(span(1, number, status=2 if number == 3 else 0), span(9, number)))
        store.settle()
    lots = store.retention.survey(RULES)
    assert [(lot.rule, lot.traces, lot.spans) for lot in lots] == [(0, 1, 3), (1, 1, 3)]
    dropped = store.retention.discard(TODAY, RULES, after(7))
    assert (dropped.traces, dropped.spans) == (1, 3)
    assert (len(store.trace("1")), store.trace("9")) == (3, [])


def test_spans_that_come_while_a_day_is_copied_are_not_lost(
    store: DuckDBStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is thrown away, and made again another time, with the late spans."""
    fill(store)
    store.retention.discard(TODAY, RULES, after(7))
    late = [span(90_000 + n) for n in range(3)]
    monkeypatch.setattr(compacting, "_ROWS", 10_000)  # one step for each table
    monkeypatch.setattr(compacting.time, "sleep", lambda seconds: store.write(batch(late.pop())) if late else 0)
    for _ in range(10):
        before = len(late)
        made = store.retention.compact(TODAY, 0.0)
        assert made is None or len(late) == before
        assert list(tmp_path.glob("*compacting*")) == []
    assert late == []
    assert all(store.trace(f"{90_000 + n:x}") for n in range(3))


def test_a_day_is_not_dropped_whole_when_a_span_came_meanwhile(store: DuckDBStore) -> None:
    """It came after the verdict: it stays, and goes with the next one."""
    store.write(batch(span(1), span(2)))
    delete = store.retention._drop_whole

    def slow(file: Any, spans: int) -> bool:
        store.write(batch(span(3)))
        return delete(file, spans)

    store.retention._drop_whole = slow
    assert store.retention.discard(TODAY, RULES, after(7)).spans == 2
    assert store.trace("3")
    store.retention._drop_whole = delete
    assert store.retention.discard(TODAY, RULES, after(7)).spans == 1
    assert store.days() == []


def test_readers_and_writers_go_on_while_a_day_is_made_smaller(store: DuckDBStore) -> None:
    """No reader fails or misses a trace that is kept, and a writer of another day is never refused."""
    stop = threading.Event()
    failures: list[BaseException] = []
    written = 0

    def read() -> None:
        while not stop.is_set():
            assert len(store.trace(f"{10:x}")) == 1

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            written += store.write(batch(span(100_000 + written, at=NOON + DAY)))

    def guarded(work: Any) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    fill(store, 4_000)
    threads = [threading.Thread(target=guarded, args=[work]) for work in (read, read, write)]
    for thread in threads:
        thread.start()
    try:
        for n in range(3):
            assert store.retention.discard(TODAY, [rule(30 + n, error=True), REST], after(7 + n)) is not None
            store.retention.compact(TODAY, 0.0)
            store.write(batch(*(span(200_000 + 1_000 * n + m, 7) for m in range(1_000))))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert written > 0
    assert sum(len(store.trace(f"{100_000 + n:x}")) for n in range(min(written, 20))) == min(written, 20)


_SWEEPS = """
import pathlib, sys
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.storage.duckdb import compacting, retention
from kai_tracing_backend.testing.retention_contract import *
from kai_tracing_backend.testing.retention_contract import REST, TODAY, after
from kai_tracing_backend.testing.store_contract import batch, span
compacting._ROWS = 1_000
store = DuckDBStore(pathlib.Path(sys.argv[1]))
rules = [rule(30, error=True), REST]
number = int(sys.argv[2])
while True:
    store.write(batch(*(span(number + n, 7, service="late", status=2 if n == 0 else 0) for n in range(500))))
    print(number, flush=True)
    number += 500
    store.retention.discard(TODAY, rules, after(7))
    store.retention.compact(TODAY, 0.0)
"""


def test_a_kill_at_any_moment_loses_nothing_that_is_kept(store: DuckDBStore, tmp_path: Path) -> None:
    """Killed again and again while it deletes, copies and renames: all failed traces are there."""
    fill(store, 4_000)
    store.close()
    written: list[int] = []
    for kill in range(6):
        code = [sys.executable, "-c", textwrap.dedent(_SWEEPS), str(tmp_path), str(1_000_000 * (kill + 1))]
        process = subprocess.Popen(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        written += [int(process.stdout.readline() or 0) for _ in range(2)]
        time.sleep(0.03 * kill)
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        assert errors == ""
    again = DuckDBStore(tmp_path)
    try:
        assert list(tmp_path.glob("*compacting*")) == []
        assert all(len(again.trace(f"{n:x}")) == 1 for n in range(10, 4_000, 50))
        assert all(len(again.trace(f"{n:x}")) == 1 for n in written)
        again.retention.discard(TODAY, RULES, Cut(MIDNIGHT + 7 * DAY))
        assert not again.trace("1")
    finally:
        again.close()


def test_a_file_of_pins_that_cannot_be_read_is_named(store: DuckDBStore, tmp_path: Path) -> None:
    """With the way out; a store that forgets what is pinned does not start."""
    store.retention.marks.pin(f"{1:032x}", "keep")
    (tmp_path / "pins.json").write_text("{")
    store.close()
    with pytest.raises(StoreError, match=r"pins\.json cannot be read.*Repair it"):
        DuckDBStore(tmp_path)


def test_many_rules_are_judged_at_once(store: DuckDBStore) -> None:
    """As many as there are bits."""
    store.write(batch(*(span(n, name=f"op{n}") for n in range(1, 64))))
    rules = [KeepRule(f"r{n}", n * DAY, operations=(f"op{n}",)) for n in range(1, 64)] + [REST]
    lots = store.retention.survey(rules)
    assert {(lot.rule, lot.expires) for lot in lots} == {(n - 1, MIDNIGHT + n * DAY) for n in range(1, 64)}
