"""What keeps the rollups and indexes of a day short: small steps between commits.

Every commit adds a few rows to the tables `…_recent`. When there are enough of them a step merges them into the tables
that are read fast: rates and dependencies by the minute (a row for each operation instead of one for each commit),
rates by the hour and the day besides, and the attribute index in runs that are sorted by fingerprint.
"""

from __future__ import annotations

import duckdb

from kai_tracing_backend.storage.duckdb.files import DayFile, transaction
from kai_tracing_backend.storage.duckdb.statements import statement

__all__ = ["Maintenance", "merge_rollups"]

_LOOK = 20_000  # spans written, between two looks at what there is to merge
_LIMITS = {"rates": 20_000, "edges": 20_000, "attributes": 1_000_000}  # recent rows that are too many


class Maintenance:
    """Merges what has become too much. Its caller is the only one who writes."""

    def __init__(self) -> None:
        self._written: dict[DayFile, int] = {}

    def after_write(self, cursor: duckdb.DuckDBPyConnection, file: DayFile, spans: int) -> None:
        """Do what is due, now that `spans` more are in the file."""
        self._written[file] = self._written.get(file, 0) + spans
        if self._written[file] < _LOOK:
            return
        del self._written[file]
        counts = cursor.execute(statement("count_recent")).fetchall()
        for name, rows in counts:
            if rows > _LIMITS[name]:
                merge(cursor, name)


def merge(cursor: duckdb.DuckDBPyConnection, name: str) -> None:
    """Merge the recent rows of `rates`, `edges` or `attributes`: all of it or nothing."""
    with transaction(cursor):
        cursor.execute(statement(f"merge_{name}"))


def merge_rollups(cursor: duckdb.DuckDBPyConnection) -> None:
    """Merge all rates and dependencies of a file, before they move into the history."""
    for name in ("rates", "edges"):
        merge(cursor, name)
