"""Writing a batch: spans, rates and dependencies in one transaction of the day's file."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from kai_tracing_backend.columns import ARRIVAL, SHARED
from kai_tracing_backend.sketch import LN_GAMMA
from kai_tracing_backend.storage.duckdb.files import DayFile, Files, transaction
from kai_tracing_backend.storage.duckdb.maintenance import Maintenance
from kai_tracing_backend.storage.duckdb.reading import DAY, EPOCH
from kai_tracing_backend.storage.duckdb.segments import RUN, SEGMENT, SEGMENTS, ranges
from kai_tracing_backend.storage.duckdb.statements import statement

__all__ = ["Writer"]

_MINUTE = 60_000_000_000
_LOOKED_AT = 64  # segments in which relatives are looked for; a trace that is in more than these never ends
# What relatives and edges are found by.
_ARRIVED = (
    *("trace_high", "trace_low", "span_id", "start_time", "kind", "parent_id", "service", "status", "adjusted_count"),
    *("flags", "peer.service", "server.address", "url.full", "http.url", "db.system.name", "db.system", "db.namespace"),
    "messaging.destination.name",
)
_LINKED = pa.schema(
    [
        ("trace_high", pa.uint64()),
        ("trace_low", pa.uint64()),
        ("span_id", pa.uint64()),
        ("minute", pa.int32()),
        ("service", pa.string()),
        ("weight", pa.float64()),
        ("errors", pa.int64()),
    ]
)


class Writer:
    """Writes to the files. One call at a time: the caller holds the store's lock."""

    def __init__(self, files: Files, maintenance: Maintenance) -> None:
        self._files = files
        self._maintenance = maintenance

    def write(self, batch: pa.Table, counted: bool) -> int:
        """See `SpanStore.write`. A batch of several days is written day by day."""
        days = pc.divide(batch["start_time"], DAY)
        present = sorted(pc.unique(days).to_pylist())
        if len(present) == 1:
            return self._write_day(present[0], batch, counted)
        return sum(self._write_day(day, batch.filter(pc.equal(days, day)), counted) for day in present)

    def _write_day(self, number: int, batch: pa.Table, counted: bool) -> int:
        file = self._files.day(EPOCH + timedelta(days=number))
        # One transaction for what is looked up and what is written: settling moves spans at the same time.
        with self._files.cursor(file.name) as cursor, transaction(cursor):
            linked = _linked(batch)
            _arrive(cursor, batch)
            answered = self._find_relatives(cursor, file, batch, linked)
            if gone := cursor.execute(statement("find_duplicates"), {"arrival": ARRIVAL}).fetchall():
                there = pa.array([row for (row,) in gone], pa.int64())
                batch = batch.filter(pc.invert(pc.is_in(_numbers(batch), value_set=there)))
                if batch.num_rows == 0:
                    return 0
                linked = _linked(batch)
                _arrive(cursor, batch)
            filled = _filled(cursor, file)
            cursor.register("incoming", batch.append_column("segment", _runs(filled, batch.num_rows)))
            file.filled = None  # not known until it is committed
            for table in ("resources", "scopes", "spans"):
                cursor.execute(statement(f"write_{table}"))
            if counted:
                _write_rollups(cursor, file, linked, answered=answered)
        file.filled = filled + batch.num_rows
        self._maintenance.after_write(file, batch.num_rows)
        return int(batch.num_rows)

    def _find_relatives(
        self, cursor: duckdb.DuckDBPyConnection, file: DayFile, batch: pa.Table, linked: pa.Table
    ) -> bool:
        """Collect the spans of the batch's traces that are there, in this day and those beside it.

        Returns whether consumers are among them that waited for a producer which comes now.
        """
        wanted = ("trace_high", "trace_low")
        cursor.register(
            "wanted", pa.concat_tables([batch.select(wanted), linked.select(wanted)]).group_by(wanted).aggregate([])
        )
        cursor.execute(statement("create_relatives"))
        window = pc.min_max(batch["start_time"]).as_py()
        near = {"first": window["min"], "last": window["max"], "limit": _LOOKED_AT}
        answered = 0
        for offset in (-1, 0, 1):
            if (beside := self._files.days.get(file.day + timedelta(days=offset))) is None:
                continue
            cursor.execute(f'USE "{beside.name}"')
            segments = cursor.execute(statement("near_segments"), near).fetchall()
            for first, last in ranges(segment for (segment,) in segments):
                cursor.execute(statement("find_relatives"), {"first": first, "last": last})
            if beside.awaits is None:
                ((beside.awaits,),) = cursor.execute("SELECT count(*) > 0 FROM awaited").fetchall()
            if beside.awaits:
                ((found,),) = cursor.execute(statement("find_old_links")).fetchall()
                answered += found
        cursor.execute(f'USE "{file.name}"')
        return answered > 0


def _arrive(cursor: duckdb.DuckDBPyConnection, batch: pa.Table) -> None:
    cursor.register("arrived", batch.select(_ARRIVED).append_column("row_index", _numbers(batch)))


def _numbers(batch: pa.Table) -> pa.Array:
    return pa.array(range(batch.num_rows), pa.int64())


def _write_rollups(cursor: duckdb.DuckDBPyConnection, file: DayFile, linked: pa.Table, *, answered: bool) -> None:
    cursor.execute(statement("write_rates"), {"ln_gamma": LN_GAMMA})
    cursor.execute(statement("write_edges"), {"shared": SHARED})
    if linked.num_rows or answered:
        cursor.register("linked", linked)
        cursor.execute(statement("write_link_edges"))
    if linked.num_rows:
        file.awaits = None  # it may now
        cursor.execute(statement("write_awaited"))


def _filled(cursor: duckdb.DuckDBPyConnection, file: DayFile) -> int:
    """How many rows the runs of a file have got."""
    if file.filled is None:
        sizes = {"size": SEGMENT, "segments": SEGMENTS}
        ((file.filled,),) = cursor.execute(statement("filled"), sizes).fetchall()
    return file.filled


def _runs(filled: int, rows: int) -> pa.Array:
    """The first segment of the run that each new row is in."""
    return pa.array([row // RUN * SEGMENTS for row in range(filled, filled + rows)], pa.int32())


def _linked(batch: pa.Table) -> pa.Table:
    """The links of consumers to other spans than their parents, each with what the consumer counts for."""
    columns = ("trace_high", "trace_low", "parent_id", "links", "start_time", "service", "adjusted_count", "status")
    consumers = batch.select(columns).filter(
        pc.and_(pc.equal(batch["kind"], 5), pc.is_valid(batch["links"]))  # CONSUMER
    )
    rows: list[dict[str, Any]] = []
    for span in consumers.to_pylist():
        parent = (span["trace_high"], span["trace_low"], span["parent_id"])
        ids = {(int(trace[:16], 16), int(trace[16:], 16), int(own, 16)) for trace, own, *_ in json.loads(span["links"])}
        rows += (
            {
                "trace_high": high,
                "trace_low": low,
                "span_id": own,
                "minute": span["start_time"] // _MINUTE,
                "service": span["service"],
                "weight": span["adjusted_count"],
                "errors": int(span["status"] == 2),
            }
            for high, low, own in ids - {parent}
        )
    return pa.Table.from_pylist(rows, schema=_LINKED)
