"""How the files of a store are read: day by day, within the bounds of the caller's `Cancellation`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any, TypeVar

import duckdb

from kai_tracing_backend.storage.cancellation import guarded, read_rows
from kai_tracing_backend.storage.contract import StoreError
from kai_tracing_backend.storage.duckdb.files import HISTORY, DayFile, Files, reported, transaction

__all__ = ["DAY", "EPOCH", "Reading", "fetch", "fetch_named", "first_moment"]

DAY = 86_400_000_000_000
EPOCH = date(1970, 1, 1)

_CHUNK = 10_000  # rows, between two looks at the bounds

T = TypeVar("T")


class Reading:
    """The files as those that read see them."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.closed = False

    def days(self) -> list[DayFile]:
        """The days' files, newest first."""
        days = self.files.days
        return [days[day] for day in sorted(days, reverse=True)]

    def each(self, files: Sequence[DayFile | None], read: Callable[[duckdb.DuckDBPyConnection], T]) -> Iterator[T]:
        """What `read` gives for each file, None for the history; a day that is deleted meanwhile gives nothing."""
        for file in files:
            with self.reporting():
                if file is None:
                    with self.files.cursor(HISTORY) as cursor, guarded(cursor.interrupt):
                        found = read(cursor)
                else:
                    with self.files.reading(file) as day:
                        if day is None:
                            continue
                        # One look at the day for all that is read: spans move when they are settled.
                        with guarded(day.interrupt), transaction(day):
                            found = read(day)
            yield found

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Errors as the contract has them."""
        if self.closed:
            raise StoreError("the store is closed")
        try:
            yield
        except duckdb.Error as error:
            if isinstance(error, (duckdb.IOException, duckdb.TransactionException, duckdb.CatalogException)):
                self.files.revive()
            raise reported(error) from error


def first_moment(file: DayFile) -> int:
    """When the day begins."""
    return (file.day - EPOCH).days * DAY


def fetch(cursor: duckdb.DuckDBPyConnection, text: str, parameters: Mapping[str, Any] | None = None) -> list[Any]:
    """The rows of a statement."""
    cursor.execute(text, parameters)
    found: list[Any] = []
    while rows := cursor.fetchmany(_CHUNK):
        read_rows(len(rows))
        found += rows
    return found


def fetch_named(
    cursor: duckdb.DuckDBPyConnection, text: str, parameters: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The rows of a statement, by the names of their columns."""
    rows = fetch(cursor, text, parameters)
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, row, strict=True)) for row in rows]
