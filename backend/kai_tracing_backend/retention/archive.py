"""The archive: Parquet files that plain DuckDB and pyarrow read, one for each tenant and day.

    <folder>/tenant=default/day=2026-11-24/spans.parquet

A file has the columns of `columns.BATCH`, resource and scope as text, sorted by trace, compressed with zstd. What is
archived later for the same day is merged into a new file that takes the old one's place; a span is in it once.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kai_tracing_backend.columns import BATCH
from kai_tracing_backend.storage.contract import StoreError
from kai_tracing_backend.storage.duckdb.marks import move_durably

__all__ = ["Archive", "ArchivedDay"]

_NAME = re.compile(r"day=(\d{4}-\d\d-\d\d)")
_ROWS = 20_000  # of a row group and of a batch
_MERGE = """
COPY (
    SELECT * FROM (SELECT * FROM old UNION ALL BY NAME SELECT * FROM incoming)
    QUALIFY row_number() OVER (PARTITION BY trace_high, trace_low, span_id, start_time, kind) = 1
    ORDER BY trace_high, trace_low, start_time
) TO '{target}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20000)
"""


@dataclass(frozen=True)
class ArchivedDay:
    """What is in the archive of a day; `bytes` is the file's size."""

    day: date
    traces: int
    spans: int
    bytes: int


class Archive:
    """The archive in a folder, which is made when it is written to."""

    def __init__(self, folder: Path, memory_limit: str = "500MB") -> None:
        self.folder = folder
        self._memory_limit = memory_limit

    def path(self, tenant: str, day: date) -> Path:
        """The file of a tenant's day, whether it is there or not."""
        return self.folder / f"tenant={tenant}" / f"day={day.isoformat()}" / "spans.parquet"

    def add(self, tenant: str, day: date, reader: pa.RecordBatchReader) -> None:
        """Put spans into a day's file; when it returns they are on the disk. Again changes nothing.

        Raises:
            StoreError: it cannot be written; the old file is as it was.
        """
        path = self.path(tenant, day)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".merging-", dir=path.parent) as scratch:
                target = Path(scratch) / "spans.parquet"
                config: dict[str, Any] = {"memory_limit": self._memory_limit, "temp_directory": scratch, "threads": 1}
                with duckdb.connect(":memory:", config=config) as connection:
                    connection.register("incoming", reader)
                    if path.exists():
                        connection.from_parquet(str(path)).create_view("old")
                    else:
                        connection.register("old", BATCH.empty_table())
                    connection.execute(_MERGE.format(target=str(target).replace("'", "''")))
                with target.open("rb+") as written:
                    os.fsync(written.fileno())
                move_durably(target, path)
        except (OSError, duckdb.Error) as error:
            raise StoreError(f"{path} cannot be written: {error}") from error

    def days(self, tenant: str) -> list[ArchivedDay]:
        """What there is, the newest day first."""
        found = []
        for folder in sorted((self.folder / f"tenant={tenant}").glob("day=*"), reverse=True):
            path = folder / "spans.parquet"
            if (named := _NAME.fullmatch(folder.name)) and path.exists():
                found.append(self._described(path, date.fromisoformat(named[1])))
        return found

    def _described(self, path: Path, day: date) -> ArchivedDay:
        ids = pq.read_table(path, columns=["trace_high", "trace_low"])
        traces = ids.group_by(["trace_high", "trace_low"]).aggregate([]).num_rows
        return ArchivedDay(day, traces, ids.num_rows, path.stat().st_size)

    def read(self, tenant: str, day: date, trace_id: str | None = None) -> Iterator[pa.Table]:
        """The spans of a day, or of one trace in it, as batches with the schema `columns.BATCH`.

        Raises:
            StoreError: the file cannot be read.
        """
        path = self.path(tenant, day)
        if not path.exists():
            return
        try:
            with pq.ParquetFile(path) as file:
                for index in range(file.num_row_groups):
                    if trace_id is not None and not _may_have(file.metadata.row_group(index), int(trace_id, 16)):
                        continue
                    for batch in file.iter_batches(_ROWS, row_groups=[index]):
                        table = _as_batch(pa.Table.from_batches([batch]))
                        if trace_id is not None:
                            number = int(trace_id, 16)
                            table = table.filter(
                                pc.and_(
                                    pc.equal(table["trace_high"], pa.scalar(number >> 64, pa.uint64())),
                                    pc.equal(table["trace_low"], pa.scalar(number & (1 << 64) - 1, pa.uint64())),
                                )
                            )
                        if table.num_rows:
                            yield table
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{path} cannot be read: {error}") from error

    def days_of(self, tenant: str, trace_id: str) -> list[date]:
        """The days in whose files a trace is."""
        return [found.day for found in self.days(tenant) if next(self.read(tenant, found.day, trace_id), None)]


def _may_have(group: pq.RowGroupMetaData, number: int) -> bool:
    """By the smallest and the largest `trace_high` of a row group; the file is sorted by it."""
    for index in range(group.num_columns):
        column = group.column(index)
        if column.path_in_schema == "trace_high" and column.statistics is not None and column.statistics.has_min_max:
            return bool(column.statistics.min <= number >> 64 <= column.statistics.max)
    return True


def _as_batch(table: pa.Table) -> pa.Table:
    """As a store takes it: what many spans share is a dictionary. A column that there was not yet is empty."""
    columns = []
    for field in BATCH:
        column = table[field.name] if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        if pa.types.is_dictionary(field.type):
            column = column.dictionary_encode()
        columns.append(column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=BATCH)
