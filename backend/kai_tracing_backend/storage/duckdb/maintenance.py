"""What is done with spans after they were committed: one thread settles them, and nobody waits for it.

A commit adds rows to the tables `…_recent`, which are not sorted, not indexed, and not compressed. Step by step they
become what is read fast and takes little room: runs of spans in segments with their indexes, rates and dependencies by
the minute (a row for each operation instead of one for each commit), and rates by the hour and the day. Then a
checkpoint brings the file up to date. When a day is over and nothing comes for it any more, the rest of it is settled,
too, and its trace index is put in order as a whole.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime, timezone

import duckdb

from kai_tracing_backend.storage.contract import StoreError
from kai_tracing_backend.storage.duckdb.compacting import log_bytes
from kai_tracing_backend.storage.duckdb.files import DayFile, transaction
from kai_tracing_backend.storage.duckdb.reading import Reading
from kai_tracing_backend.storage.duckdb.segments import RUN, SEGMENT, SEGMENTS
from kai_tracing_backend.storage.duckdb.statements import statement
from kai_tracing_backend.troubles import Trouble

__all__ = ["Maintenance", "merge_rollups"]

logger = logging.getLogger(__name__)

_LOOK = 20_000  # spans written, between two looks at what there is to do
_LIMITS = {"rates": 20_000, "edges": 20_000}  # recent rows that are too many
_BEHIND = 2 * RUN  # spans that wait to be settled: more do not come in before
_PATIENCE = 10.0  # seconds to wait for that
# Bytes of a log that are worth a checkpoint: while little is recent, which is written in vain, and anyway.
_LOG, _LARGE_LOG = 64 << 20, 160 << 20
_QUIET = 60.0  # seconds without a span for a day that is over, before the rest of it is settled
_SETTLED = "FROM spans_settled WHERE segment BETWEEN $first AND $last"


class Maintenance:
    """The thread, and what it does. `writing` is the store's lock, held for checkpoints only."""

    def __init__(self, reading: Reading, writing: threading.Lock) -> None:
        self._reading, self._files = reading, reading.files
        self._writing = writing
        self._changed = threading.Condition()
        self._written: dict[DayFile, int] = {}  # since the last look
        self._touched: dict[DayFile, float] = {}  # when
        self._waiting: dict[DayFile, int] = {}  # spans that are not settled
        self._began = time.monotonic()
        self._closed = False
        self._failing: dict[DayFile, Trouble] = {}
        self._thread = threading.Thread(target=self._run, name="kai-tracing-maintenance", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End after the step that runs."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def admit(self) -> None:
        """Wait while much more was written than is settled."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or sum(self._waiting.values()) < _BEHIND, _PATIENCE)

    def after_write(self, file: DayFile, spans: int) -> None:
        """So many spans more are in the file."""
        with self._changed:
            self._waiting[file] = self._waiting.get(file, 0) + spans
            self._written[file] = self._written.get(file, 0) + spans
            self._touched[file] = time.monotonic()
            if log_bytes(file) > _LOG:  # a few large spans
                self._written[file] = max(self._written[file], _LOOK)
            if self._written[file] >= _LOOK:
                self._changed.notify_all()

    def _wait(self, file: DayFile, spans: int) -> None:
        """So many spans more wait to be settled."""
        with self._changed:
            self._waiting[file] = self._waiting.get(file, 0) + spans
            self._changed.notify_all()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (due := self._due()) is not None:
            for file, over in due:
                trouble = self._failing.get(file)
                try:
                    self.tend(file, over=over)
                except (duckdb.Error, StoreError) as error:
                    trouble = self._failing.setdefault(file, Trouble(logger))
                    trouble.happened(f"{file.path} cannot be put in order now, it is tried again: {error}")
                else:
                    if trouble is not None:
                        trouble.over(f"{file.path} is put in order again")

    def _due(self) -> list[tuple[DayFile, bool]] | None:
        """The files to look at, and whether their day is over; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or max(self._written.values(), default=0) >= _LOOK, _QUIET / 4)
            if self._closed:
                return None
            known = list(self._files.days.values())
            self._touched = {file: self._touched.get(file, self._began) for file in known}
            self._waiting = {file: self._waiting.get(file, 0) for file in known}
            today, quiet = datetime.now(timezone.utc).date(), time.monotonic() - _QUIET
            over = [file for file in known if file.day < today and self._touched[file] < quiet]
            written = [file for file, spans in self._written.items() if spans >= _LOOK and file not in over]
            for file in (*over, *written):
                self._written.pop(file, None)
            return [*((file, False) for file in written), *((file, True) for file in over)]

    def tend(self, file: DayFile, *, over: bool = False) -> None:
        """Do what is due; all that can be done of a day that is over."""
        with file.changing, self._reading.reporting(), self._files.reading(file) as cursor:
            if cursor is None:
                return
            done = self._settle(cursor, file, over)
            if (done and over) or log_bytes(file) > (_LOG if self._waiting[file] < RUN else _LARGE_LOG):
                with self._writing:  # DuckDB makes no checkpoint while something is written
                    cursor.execute(f'CHECKPOINT "{file.name}"')

    def _settle(self, cursor: duckdb.DuckDBPyConnection, file: DayFile, over: bool) -> bool:
        """Whether there was something to do."""
        runs = cursor.execute(statement("runs")).fetchall()
        whole = [first for first, spans in runs[-1:] if over or spans == RUN]
        done = [first for first, _ in runs[:-1]] + whole
        self._wait(file, sum(spans for _, spans in runs) - self._waiting.get(file, 0))
        for first, spans in runs[: len(done)]:
            settle(cursor, first)
            self._wait(file, -spans)
        if whole:
            file.filled = None  # the next span begins a run
        many = [name for name, rows in cursor.execute(statement("count_recent")).fetchall() if rows > _LIMITS[name]]
        for name in _LIMITS if done else many:
            merge(cursor, name)
        ((ordered,),) = cursor.execute("SELECT sorted FROM meta").fetchall()
        if over and not ordered:
            with transaction(cursor):
                cursor.execute(statement("sort_indexes"))
        return bool(done or many or (over and not ordered))


def settle(cursor: duckdb.DuckDBPyConnection, first: int) -> None:
    """Settle the run that begins with this segment: all of it or nothing."""
    run = {"first": first, "last": first + SEGMENTS - 1}
    with transaction(cursor):
        cursor.execute(statement("settle_spans"), {"first": first, "size": SEGMENT})
        for index in ("segments", "traces", "attributes"):
            cursor.execute(statement(f"write_{index}", spans=_SETTLED), run)
        cursor.execute(statement("settle_clear"), {"first": first})
        cursor.execute("UPDATE meta SET sorted = false WHERE sorted")


def merge(cursor: duckdb.DuckDBPyConnection, name: str) -> None:
    """Merge the recent rows of `rates` or `edges`: all of it or nothing."""
    with transaction(cursor):
        cursor.execute(statement(f"merge_{name}"))


def merge_rollups(cursor: duckdb.DuckDBPyConnection) -> None:
    """Merge all rates and dependencies of a file, before they move into the history."""
    for name in _LIMITS:
        merge(cursor, name)
