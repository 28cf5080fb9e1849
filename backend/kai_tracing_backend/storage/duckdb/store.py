"""The embedded span store."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa

from kai_tracing_backend.columns import to_span
from kai_tracing_backend.language.nodes import Condition, TraceQuery
from kai_tracing_backend.model import (
    AttributeKey,
    AttributeValue,
    DayStatistics,
    Edge,
    Operation,
    Rate,
    SearchPage,
    StoredSpan,
)
from kai_tracing_backend.storage.duckdb.attributes import AttributeReader
from kai_tracing_backend.storage.duckdb.files import DayFile, Files, transaction
from kai_tracing_backend.storage.duckdb.maintenance import Maintenance, merge_rollups
from kai_tracing_backend.storage.duckdb.reading import Reading, fetch, fetch_named
from kai_tracing_backend.storage.duckdb.retention import DuckDBRetention
from kai_tracing_backend.storage.duckdb.rollups import read_edges, read_operations, read_rates, read_services
from kai_tracing_backend.storage.duckdb.search import search
from kai_tracing_backend.storage.duckdb.segments import ranges
from kai_tracing_backend.storage.duckdb.statements import statement
from kai_tracing_backend.storage.duckdb.statistics import read_statistics
from kai_tracing_backend.storage.duckdb.whole import whole_traces
from kai_tracing_backend.storage.duckdb.writing import Writer

__all__ = ["DuckDBStore"]


class DuckDBStore:
    """Spans in a folder: one DuckDB file for each day, so that dropping a day frees its disk at once.

    A day's spans, rates and dependencies are written in one transaction; a thread
    makes indexes of them afterwards. `memory_limit` is what DuckDB
    may take ("1GB"), `threads` how many it uses: two by default, or one where the process may use one core.

    Raises:
        StoreError: the folder is another process's, or was written by a newer version.
    """

    def __init__(self, folder: Path, *, memory_limit: str = "1GB", threads: int | None = None) -> None:
        self._files = Files(folder, memory_limit, threads or min(2, _cores()))
        self._reading = Reading(self._files)
        self._writing = threading.Lock()
        self._maintenance = Maintenance(self._reading, self._writing)
        self._writer = Writer(self._files, self._maintenance)
        self.retention = DuckDBRetention(self._reading, self._writing, self._drop_day, self.rates)

    # -- writing -----------------------------------------------------------------------------------------------------

    def write(self, batch: pa.Table, *, counted: bool = True) -> int:
        """Store a batch; see `SpanStore.write`. A batch of several days is written day by day."""
        self._maintenance.admit()
        with self._writing, self._reading.reporting():
            try:
                return self._writer.write(batch, counted)
            except duckdb.FatalException:  # a write failed half-way, and DuckDB refuses all work until it is reopened
                self._files.reopen()
                return self._writer.write(batch, counted)

    def settle(self) -> None:
        """Do now what is done some time after a day is over: sort, index and compress all its spans."""
        for file in list(self._files.days.values()):
            self._maintenance.tend(file, over=True)

    def delete_day(self, day: date) -> None:
        """Drop a day's file; see `SpanStore.delete_day`. Its rates and dependencies move into the history first."""
        if (file := self._files.days.get(day)) is None:
            return
        with file.changing, self._writing, self._reading.reporting():
            if self._files.days.get(day) is file:
                self._drop_day(file)

    def _drop_day(self, file: DayFile) -> None:
        with self._files.cursor(file.name) as cursor:
            merge_rollups(cursor)
            with transaction(cursor):
                cursor.execute(statement("archive_rates"))
                cursor.execute(statement("archive_edges"))
        self._files.drop(file)

    # -- reading -----------------------------------------------------------------------------------------------------

    def trace(self, trace_id: str) -> list[StoredSpan]:
        """The spans of a trace; see `SpanStore.trace`."""
        if len(trace_id) > 32:
            raise ValueError("a trace id has at most 32 digits")
        number = int(trace_id, 16)
        wanted = {"high": number >> 64, "low": number & (1 << 64) - 1}

        def read(cursor: duckdb.DuckDBPyConnection) -> list[StoredSpan]:
            found = ranges(segment for (segment,) in fetch(cursor, statement("find_trace"), wanted))
            windows = ({**wanted, "first": first, "last": last} for first, last in found)
            return [to_span(row) for window in windows for row in fetch_named(cursor, statement("read_trace"), window)]

        spans = [span for found in self._reading.each(self._reading.days(), read) for span in found]
        return sorted(spans, key=lambda span: (span.start_time, -span.duration))

    def traces(self, trace_ids: Sequence[str]) -> list[list[StoredSpan]]:
        """Several traces; see `SpanStore.traces`."""
        return whole_traces(self._reading, trace_ids)

    def trace_ids(self, prefix: str, *, limit: int = 20) -> list[str]:
        """The trace ids that begin so; see `SpanStore.trace_ids`."""
        if not 1 <= len(prefix) <= 32:
            raise ValueError("a trace id has 1 to 32 digits")
        windows = [_ids_between(prefix.ljust(width, "0"), prefix.ljust(width, "f")) for width in _id_widths(prefix)]

        def read(cursor: duckdb.DuckDBPyConnection) -> list[tuple[int, int]]:
            wanted = ({**window, "limit": limit} for window in windows)
            return [row for window in wanted for row in fetch(cursor, statement("trace_ids"), window)]

        days = self._reading.each(self._reading.days(), read)
        found = {f"{high:016x}{low:016x}" for rows in days for high, low in rows}
        return sorted(found)[:limit]

    def search(
        self,
        query: TraceQuery,
        start: int,
        end: int,
        *,
        limit: int = 20,
        cursor: str | None = None,
        spans_per_set: int = 3,
    ) -> SearchPage:
        """Traces, newest first; see `SpanStore.search`."""
        return search(self._reading, query, start, end, limit, cursor, spans_per_set)

    def attribute_keys(
        self,
        start: int,
        end: int,
        *,
        where: Condition | None = None,
        scope: str = "",
        prefix: str = "",
        limit: int = 1_000,
    ) -> list[AttributeKey]:
        """The attributes that there are; see `SpanStore.attribute_keys`."""
        return AttributeReader(self._reading, start, end, where).keys(scope, prefix, limit)

    def attribute_values(
        self,
        key: str,
        start: int,
        end: int,
        *,
        where: Condition | None = None,
        scope: str = "",
        prefix: str = "",
        limit: int = 1_000,
    ) -> list[AttributeValue]:
        """The values of an attribute; see `SpanStore.attribute_values`."""
        return AttributeReader(self._reading, start, end, where).values(key, scope, prefix, limit)

    def services(self, start: int = 0, end: int = 1 << 62) -> list[str]:
        """The services; see `SpanStore.services`."""
        return read_services(self._reading, start, end)

    def operations(self, service: str, start: int = 0, end: int = 1 << 62) -> list[Operation]:
        """A service's operations; see `SpanStore.operations`."""
        return read_operations(self._reading, service, start, end)

    def rates(self, start: int, end: int) -> list[Rate]:
        """Rate, errors and durations; see `SpanStore.rates`."""
        return read_rates(self._reading, start, end)

    def dependencies(self, start: int, end: int, *, peers: bool = False, loops: bool = False) -> list[Edge]:
        """Who calls whom; see `SpanStore.dependencies`."""
        return read_edges(self._reading, start, end, peers=peers, loops=loops)

    def statistics(self) -> list[DayStatistics]:
        """What there is; see `SpanStore.statistics`."""
        return read_statistics(self._reading)

    def days(self) -> list[date]:
        """The days that there are spans of, newest first."""
        return [file.day for file in self._reading.days()]

    def close(self) -> None:
        """Close the files; see `SpanStore.close`."""
        self._maintenance.close()
        with self._writing:
            if not self._reading.closed:
                self._reading.closed = True
                self._files.close()


def _id_widths(prefix: str) -> tuple[int, ...]:
    """How many digits the ids have that may begin so: 32, and 16 where they came with 64 bits."""
    return (32,) if len(prefix) > 16 else (16, 32)


def _ids_between(first: str, last: str) -> dict[str, int]:
    """The parameters of `trace_ids.sql` for these ids."""
    window: dict[str, int] = {}
    for name, number in (("first", int(first, 16)), ("last", int(last, 16))):
        window |= {f"{name}_high": number >> 64, f"{name}_low": number & (1 << 64) - 1}
    return window


def _cores() -> int:
    """How many this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1
