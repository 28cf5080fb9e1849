"""The embedded span store."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from kai_tracing_backend.columns import SHARED, to_span
from kai_tracing_backend.language.nodes import TraceQuery
from kai_tracing_backend.model import AttributeKey, AttributeValue, Edge, Operation, Rate, SearchPage, StoredSpan
from kai_tracing_backend.sketch import LN_GAMMA
from kai_tracing_backend.storage.duckdb.attributes import attribute_keys, attribute_values
from kai_tracing_backend.storage.duckdb.files import DayFile, Files, transaction
from kai_tracing_backend.storage.duckdb.reading import DAY, EPOCH, Reading, fetch, fetch_named, first_moment
from kai_tracing_backend.storage.duckdb.retention import DuckDBRetention
from kai_tracing_backend.storage.duckdb.search import search
from kai_tracing_backend.storage.duckdb.statements import statement
from kai_tracing_backend.storage.duckdb.whole import whole_traces

__all__ = ["DuckDBStore"]

_MINUTE = 60_000_000_000
_ONE_DAY = timedelta(days=1)
_KEYS = ("trace_high", "trace_low", "span_id", "start_time", "kind")
_LINKS = (*_KEYS, "parent_id", "service", "status", "adjusted_count", "flags")
_FOUND = pa.schema(
    [
        ("minute", pa.int32()),
        ("parent", pa.string()),
        ("child", pa.string()),
        ("calls", pa.int64()),
        ("weight", pa.float64()),
        ("errors", pa.int64()),
    ]
)


class DuckDBStore:
    """Spans in a folder: one DuckDB file for each day, so that dropping a day frees its disk at once.

    A day's spans, trace index, rates and dependencies are written in one transaction. `memory_limit` is what DuckDB
    may take ("1GB"), `threads` how many it uses.

    Raises:
        StoreError: the folder is another process's, or was written by a newer version.
    """

    def __init__(self, folder: Path, *, memory_limit: str = "1GB", threads: int = 2) -> None:
        self._files = Files(folder, memory_limit, threads)
        self._reading = Reading(self._files)
        self._writing = threading.Lock()
        self.retention = DuckDBRetention(self._reading, self._writing, self._drop_day, self.rates)

    # -- writing -----------------------------------------------------------------------------------------------------

    def write(self, batch: pa.Table, *, counted: bool = True) -> int:
        """Store a batch; see `SpanStore.write`. A batch of several days is written day by day."""
        with self._writing, self._reading.reporting():
            try:
                return self._write(batch, counted)
            except duckdb.FatalException:  # a write failed half-way, and DuckDB refuses all work until it is reopened
                self._files.reopen()
                return self._write(batch, counted)

    def _write(self, batch: pa.Table, counted: bool) -> int:
        days = pc.divide(batch["start_time"], DAY)
        present = sorted(pc.unique(days).to_pylist())
        if len(present) == 1:
            return self._write_day(present[0], batch, counted)
        return sum(self._write_day(day, batch.filter(pc.equal(days, day)), counted) for day in present)

    def _write_day(self, number: int, batch: pa.Table, counted: bool) -> int:
        file = self._files.day(EPOCH + timedelta(days=number))
        with self._files.cursor(file.name) as cursor:
            batch = self._new_spans(cursor, batch)
            if batch.num_rows == 0:
                return 0
            # Spans of a trace side by side: their trace ids then take a byte or two instead of sixteen.
            batch = batch.sort_by([("trace_high", "ascending"), ("trace_low", "ascending")])
            edges = self._edges(file.day, batch) if counted else None
            cursor.register("incoming", batch)
            with transaction(cursor):
                for name in ("write_resources", "write_scopes", "write_spans", "write_traces"):
                    cursor.execute(statement(name))
                if edges is not None:
                    cursor.register("found", edges)
                    cursor.execute(statement("write_edges"))
                    cursor.execute(statement("write_rates"), {"ln_gamma": LN_GAMMA})
        return int(batch.num_rows)

    def _new_spans(self, cursor: duckdb.DuckDBPyConnection, batch: pa.Table) -> pa.Table:
        """The batch without what was delivered before."""
        keys = batch.select(_KEYS).append_column("row_index", pa.array(range(batch.num_rows), pa.int64()))
        first, last = _range(batch)
        cursor.register("keys", keys)
        found = cursor.execute(statement("find_duplicates"), {"first": first, "last": last}).fetchall()
        if not found:
            return batch
        gone = pa.array([row for (row,) in found], pa.int64())
        return batch.filter(pc.invert(pc.is_in(keys["row_index"], value_set=gone)))

    def _edges(self, day: date, batch: pa.Table) -> pa.Table:
        """The calls between services that are complete with this batch; the other side may be in the next day."""
        links = batch.select(_LINKS)
        found: list[tuple[Any, ...]] = []
        for near in (day - _ONE_DAY, day, day + _ONE_DAY):
            if (file := self._files.days.get(near)) is None:
                continue
            with self._files.cursor(file.name) as cursor:
                cursor.register("links", links)
                cursor.register("wanted", links)
                if near == day:
                    found += cursor.execute(statement("inner_edges"), {"shared": SHARED}).fetchall()
                ((first, last),) = cursor.execute(statement("trace_range")).fetchall()
                if first is not None:
                    window = {"first": first, "last": last, "shared": SHARED}
                    found += cursor.execute(statement("find_edges"), window).fetchall()
        columns = list(zip(*found, strict=True)) or [()] * len(_FOUND)
        return pa.table(
            [pa.array(values, kind.type) for values, kind in zip(columns, _FOUND, strict=True)], schema=_FOUND
        )

    def delete_day(self, day: date) -> None:
        """Drop a day's file; see `SpanStore.delete_day`. Its rates and dependencies move into the history first."""
        with self._writing, self._reading.reporting():
            if (file := self._files.days.get(day)) is not None:
                self._drop_day(file)

    def _drop_day(self, file: DayFile) -> None:
        with self._files.cursor(file.name) as cursor, transaction(cursor):
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
            ((first, last),) = fetch(cursor, statement("find_trace"), wanted)
            if first is None:
                return []
            window = {**wanted, "first": first, "last": last}
            return [to_span(row) for row in fetch_named(cursor, statement("read_trace"), window)]

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

    def attribute_keys(self, start: int, end: int, *, limit: int = 1_000) -> list[AttributeKey]:
        """The attributes that there are; see `SpanStore.attribute_keys`."""
        return attribute_keys(self._reading, start, end, limit)

    def attribute_values(
        self,
        key: str,
        start: int,
        end: int,
        *,
        scope: str = "",
        prefix: str = "",
        service: str = "",
        limit: int = 1_000,
    ) -> list[AttributeValue]:
        """The values of an attribute; see `SpanStore.attribute_values`."""
        return attribute_values(self._reading, key, start, end, scope, prefix, service, limit)

    def services(self, start: int = 0, end: int = 1 << 62) -> list[str]:
        """The services; see `SpanStore.services`."""
        rows = self._rollups("read_services", start, end)
        return sorted({name for (name,) in rows})

    def operations(self, service: str, start: int = 0, end: int = 1 << 62) -> list[Operation]:
        """A service's operations; see `SpanStore.operations`."""
        rows = self._rollups("read_operations", start, end, service=service)
        return [Operation(name, kind) for name, kind in sorted(set(rows))]

    def rates(self, start: int, end: int) -> list[Rate]:
        """Rate, errors and durations; see `SpanStore.rates`."""
        merged: dict[tuple[Any, ...], Rate] = {}
        for *plain, buckets, weights in self._rollups("read_rates", start, end):
            values = (*plain, dict(zip(buckets, weights, strict=True)))
            rate = Rate(*values)
            key = (rate.service, rate.name, rate.kind, rate.status)
            other = merged.get(key)
            merged[key] = rate if other is None else _merge(other, rate)
        return [merged[key] for key in sorted(merged)]

    def dependencies(self, start: int, end: int) -> list[Edge]:
        """Who calls whom; see `SpanStore.dependencies`."""
        merged: dict[tuple[str, str], Edge] = {}
        for row in self._rollups("read_edges", start, end):
            edge = Edge(*row)
            if (other := merged.get((edge.parent, edge.child))) is not None:
                edge = Edge(
                    edge.parent,
                    edge.child,
                    edge.calls + other.calls,
                    edge.weight + other.weight,
                    edge.errors + other.errors,
                )
            merged[edge.parent, edge.child] = edge
        return [merged[key] for key in sorted(merged)]

    def _rollups(self, name: str, start: int, end: int, **parameters: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a statement over the days and the history; the other side of an edge may be in the next day."""
        window = {"first": start // _MINUTE, "last": max(start, end - 1) // _MINUTE, **parameters}
        names = [file for file in self._reading.days() if start - 2 * DAY < first_moment(file) < end + DAY]
        for found in self._reading.each([*names, None], lambda cursor: fetch(cursor, statement(name), window)):
            yield from found

    def days(self) -> list[date]:
        """The days that there are spans of, newest first."""
        return [file.day for file in self._reading.days()]

    def close(self) -> None:
        """Close the files; see `SpanStore.close`."""
        with self._writing:
            if not self._reading.closed:
                self._reading.closed = True
                self._files.close()


def _range(batch: pa.Table) -> tuple[int, int]:
    ends = pc.min_max(batch["start_time"]).as_py()
    return ends["min"], ends["max"]


def _merge(one: Rate, other: Rate) -> Rate:
    sketch = dict(one.sketch)
    for bucket, weight in other.sketch.items():
        sketch[bucket] = sketch.get(bucket, 0.0) + weight
    return replace(
        one,
        spans=one.spans + other.spans,
        weight=one.weight + other.weight,
        total_duration=one.total_duration + other.total_duration,
        min_duration=min(one.min_duration, other.min_duration),
        max_duration=max(one.max_duration, other.max_duration),
        sketch=sketch,
    )


def _id_widths(prefix: str) -> tuple[int, ...]:
    """How many digits the ids have that may begin so: 32, and 16 where they came with 64 bits."""
    return (32,) if len(prefix) > 16 else (16, 32)


def _ids_between(first: str, last: str) -> dict[str, int]:
    """The parameters of `trace_ids.sql` for these ids."""
    window: dict[str, int] = {}
    for name, number in (("first", int(first, 16)), ("last", int(last, 16))):
        window |= {f"{name}_high": number >> 64, f"{name}_low": number & (1 << 64) - 1}
    return window
