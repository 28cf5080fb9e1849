"""What is in the archive, asked and brought back."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa

from kai_tracing_backend.language.nodes import TraceQuery
from kai_tracing_backend.model import SearchPage
from kai_tracing_backend.retention.archive import Archive
from kai_tracing_backend.storage.contract import QueryTooLargeError
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.tenants import Tenant

__all__ = ["MAX_QUERIED", "restore_day", "restore_trace", "search_archive"]

MAX_QUERIED = 2_000_000
"""Spans of the archive that one query reads."""


def restore_day(archive: Archive, tenant: Tenant, day: date, keep: int) -> tuple[int, int]:
    """Bring a day back, and hold it for `keep` nanoseconds. Returns how many spans there were, and were not there."""
    tenant.store.retention.marks.hold(day, time.time_ns() + keep)
    return _write(tenant, archive.read(tenant.name, day))


def restore_trace(archive: Archive, tenant: Tenant, trace_id: str, keep: int) -> tuple[int, int]:
    """Bring a trace back from all its days, and pin it for `keep` nanoseconds; otherwise as `restore_day`."""
    days = archive.days_of(tenant.name, trace_id)
    if not days:
        return 0, 0
    tenant.store.retention.marks.pin(trace_id, "restored from the archive", time.time_ns() + keep)
    counts = [_write(tenant, archive.read(tenant.name, day, trace_id)) for day in days]
    return sum(read for read, _ in counts), sum(new for _, new in counts)


def _write(tenant: Tenant, batches: Iterable[pa.Table]) -> tuple[int, int]:
    read = new = 0
    for batch in batches:
        read += batch.num_rows
        new += tenant.store.write(batch, counted=False)
    return read, new


def search_archive(archive: Archive, tenant: Tenant, query: TraceQuery, days: Sequence[date], limit: int) -> SearchPage:
    """The traces of these days in which a query finds something, as `SpanStore.search` answers them.

    The days are read into a store of their own, which is gone afterwards.

    Raises:
        QueryTooLargeError: they have more than `MAX_QUERIED` spans.
    """
    known = {found.day: found.spans for found in archive.days(tenant.name)}
    chosen = [day for day in days if day in known]
    if (spans := sum(known[day] for day in chosen)) > MAX_QUERIED:
        raise QueryTooLargeError(
            f"these days have {spans} spans in the archive, more than {MAX_QUERIED}: name fewer days, or ask the files "
            "with DuckDB"
        )
    with tempfile.TemporaryDirectory(prefix="kai-tracing-archive-") as folder:
        store = DuckDBStore(Path(folder), threads=1)
        try:
            for day in chosen:
                for batch in _joined(archive, tenant.name, day):
                    store.write(batch, counted=False)
            return store.search(query, 0, 1 << 62, limit=limit)
        finally:
            store.close()


def _joined(archive: Archive, tenant: str, day: date) -> list[pa.Table]:
    """Batches large enough to be written quickly."""
    tables = list(archive.read(tenant, day))
    return [pa.concat_tables(tables[first : first + 5]) for first in range(0, len(tables), 5)]
