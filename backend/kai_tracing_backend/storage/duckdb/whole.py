"""Many whole traces at once, over all the days that have spans of them."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from kai_tracing_backend.columns import to_span
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.storage.duckdb.reading import Reading, fetch, fetch_named
from kai_tracing_backend.storage.duckdb.segments import ranges
from kai_tracing_backend.storage.duckdb.statements import statement

__all__ = ["whole_traces"]

_LOW = (1 << 64) - 1


def whole_traces(reading: Reading, trace_ids: Sequence[str]) -> list[list[StoredSpan]]:
    """The spans of these traces; see `SpanStore.traces`."""
    numbers = {number: f"{number:032x}" for number in (int(one, 16) for one in trace_ids)}
    wanted = pa.table(
        {
            "trace_high": pa.array([number >> 64 for number in numbers], pa.uint64()),
            "trace_low": pa.array([number & _LOW for number in numbers], pa.uint64()),
        }
    )

    def read(cursor: duckdb.DuckDBPyConnection) -> list[StoredSpan]:
        cursor.register("wanted", wanted)
        there = ranges(segment for (segment,) in fetch(cursor, statement("trace_segments")))
        windows = ({"first": first, "last": last} for first, last in there)
        return [to_span(row) for window in windows for row in fetch_named(cursor, statement("read_whole"), window)]

    found: dict[str, list[StoredSpan]] = {}
    for spans in reading.each(reading.days(), read) if numbers else ():
        for span in spans:
            found.setdefault(span.trace_id, []).append(span)
    for spans in found.values():
        spans.sort(key=lambda span: (span.start_time, -span.duration))
    return [found[one] for one in numbers.values() if one in found]
