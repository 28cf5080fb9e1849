"""Whole traces, over all the days that have spans of them."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from kai_tracing_backend.columns import to_span
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.storage.duckdb.reading import Reading, fetch, fetch_named
from kai_tracing_backend.storage.duckdb.statements import statement

__all__ = ["load_traces"]


def load_traces(reading: Reading, traces: Sequence[tuple[int, int]]) -> dict[str, list[StoredSpan]]:
    """All spans of these traces (high and low half of the id), by trace id."""
    wanted = pa.table(
        {
            "trace_high": pa.array([high for high, _ in traces], pa.uint64()),
            "trace_low": pa.array([low for _, low in traces], pa.uint64()),
        }
    )

    def read(cursor: duckdb.DuckDBPyConnection) -> list[StoredSpan]:
        cursor.register("wanted", wanted)
        ((first, last),) = fetch(cursor, statement("trace_range"))
        if first is None:
            return []
        return [to_span(row) for row in fetch_named(cursor, "read_traces", {"first": first, "last": last})]

    found: dict[str, list[StoredSpan]] = {}
    for spans in reading.each(reading.days(), read) if traces else ():
        for span in spans:
            found.setdefault(span.trace_id, []).append(span)
    return found
