"""How much there is, day by day."""

from __future__ import annotations

from kai_tracing_backend.model import DayStatistics
from kai_tracing_backend.storage.duckdb.compacting import file_bytes
from kai_tracing_backend.storage.duckdb.reading import Reading, fetch
from kai_tracing_backend.storage.duckdb.statements import statement

__all__ = ["read_statistics"]


def read_statistics(reading: Reading) -> list[DayStatistics]:
    """See `SpanStore.statistics`."""
    found = []
    for file in reading.days():
        for ((spans, traces),) in reading.each([file], lambda cursor: fetch(cursor, statement("statistics"))):
            found.append(DayStatistics(file.day, spans, traces, file_bytes(file)))
    return found
