"""Makes a day's file as small as what is in it: a copy takes its place.

At any moment the folder has the whole day under its own name, either the old file or the new one: the copy is
complete, checkpointed and synchronised before one rename puts it there, and the old file has no log then. What a killed
process leaves of a copy is removed at the next start. Spans that come for the day while it is copied are in the old
file, which is kept; the copy is thrown away and made again another time.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb

from kai_tracing_backend.storage.duckdb.files import DayFile, Files
from kai_tracing_backend.storage.duckdb.segments import RUN
from kai_tracing_backend.storage.duckdb.statements import statement

__all__ = ["Compactor", "file_bytes", "leaving_time", "log_bytes"]

logger = logging.getLogger(__name__)

_SUFFIX = ".compacting"
_COPY = "compacting"
_ROWS = 2 * RUN  # of one step: whole blocks of rows
_PATIENCE = 60  # seconds for a moment in which nobody reads the day


class Compactor:
    """Compacts the files of a store. `writing` is the store's lock, held for the rename only."""

    def __init__(self, files: Files, writing: threading.Lock) -> None:
        self._files = files
        self._writing = writing
        for left in files.folder.glob(f"*{_SUFFIX}*"):
            left.unlink()

    def live_bytes(self) -> int:
        """The bytes of all files without their free blocks."""
        total = 0
        for path in self._files.folder.iterdir():
            if ".duckdb" in path.name and _SUFFIX not in path.name:
                with suppress(FileNotFoundError):  # a log goes when it is written into its file
                    total += path.stat().st_size
        for file in list(self._files.days.values()):
            with self._files.reading(file) as cursor:
                if cursor is not None:
                    total -= _free(cursor, file)
        return total

    def state(self, file: DayFile) -> tuple[int, ...]:
        """Is another one after every write to the file."""
        found = file.path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns, log_bytes(file)

    def compact(self, file: DayFile, least: float) -> int | None:
        """Shrink a file if that frees a share of at least `least`. Returns the bytes freed, None if it was not done."""
        with file.changing:
            return self._compact(file, least)

    def _compact(self, file: DayFile, least: float) -> int | None:
        copy = file.path.with_name(f"{file.path.name}{_SUFFIX}")
        with self._files.cursor(file.name) as cursor:
            if not _checkpoint(cursor, file):
                return None
            before = self.state(file)
            size = file_bytes(file)
            if _free(cursor, file) < least * size:
                return None
        try:
            if not self._copy(file, copy, before) or copy.stat().st_size >= size or not self._swap(file, copy, before):
                return None
        finally:
            for left in copy.parent.glob(f"{copy.name}*"):
                left.unlink()
        return size - file_bytes(file)

    def _copy(self, file: DayFile, copy: Path, before: tuple[int, ...]) -> bool:
        """Whether all of the file is in the copy; not if it was written to."""
        quoted = str(copy).replace("'", "''")
        with self._files.cursor(file.name) as cursor:
            cursor.execute(f"ATTACH '{quoted}' AS {_COPY}")
            try:
                cursor.execute(f'COPY FROM DATABASE "{file.name}" TO {_COPY} (SCHEMA)')
                for (table,) in cursor.execute(statement("copied_tables"), {"file": file.name}).fetchall():
                    if not self._copy_table(cursor, file, table, before):
                        return False
                cursor.execute(f"CHECKPOINT {_COPY}")
            finally:
                cursor.execute(f"DETACH {_COPY}")
        return True

    def _copy_table(
        self, cursor: duckdb.DuckDBPyConnection, file: DayFile, table: str, before: tuple[int, ...]
    ) -> bool:
        ((last,),) = cursor.execute(_of(file, table, "last_row")).fetchall()
        for first in range(0, last + 1, _ROWS):
            step: dict[str, Any] = {"first": first, "last": first + _ROWS - 1}
            with leaving_time():
                cursor.execute(_of(file, table, "copy_rows"), step)
            if self.state(file) != before:
                return False
        return True

    def _swap(self, file: DayFile, copy: Path, before: tuple[int, ...]) -> bool:
        with copy.open("rb+") as written:
            os.fsync(written.fileno())
        until = time.monotonic() + _PATIENCE
        while True:
            with self._writing:
                if self.state(file) != before:
                    return False
                if self._files.replace(file, copy):
                    return True
            if time.monotonic() > until:
                logger.warning("%s is read all the time: it is made smaller another time", file.path)
                return False
            time.sleep(0.05)


def _of(file: DayFile, table: str, name: str) -> str:
    """A statement about a table of the file; both names are the store's own."""
    return statement(name, file=f'"{file.name}"', table=f'"{table}"')


@contextmanager
def leaving_time() -> Iterator[None]:
    """Half of the time is the others': after the block a pause as long as it took, half a second at most."""
    began = time.monotonic()
    yield
    time.sleep(min(0.5, time.monotonic() - began))


def file_bytes(file: DayFile) -> int:
    """What a day takes on the disk."""
    return file.path.stat().st_size + log_bytes(file) if file.path.exists() else 0


def log_bytes(file: DayFile) -> int:
    """What of it is not in the file itself yet, but in the log."""
    try:
        return file.path.with_name(f"{file.path.name}.wal").stat().st_size
    except FileNotFoundError:
        return 0


def _free(cursor: duckdb.DuckDBPyConnection, file: DayFile) -> int:
    """About how many bytes a copy would be smaller: free blocks, and the deleted rows' share of the others."""
    ((free, used),) = cursor.execute(statement("free_bytes"), {"file": file.name}).fetchall()
    ((rows, ever),) = cursor.execute("SELECT count(*), coalesce(max(rowid), -1) + 1 FROM spans_settled").fetchall()
    return int(free + used * (1 - rows / max(rows, ever, 1)))


def _checkpoint(cursor: duckdb.DuckDBPyConnection, file: DayFile) -> bool:
    """Whether everything is in the file itself now; not while somebody writes to it."""
    try:
        cursor.execute(f'CHECKPOINT "{file.name}"')
    except duckdb.TransactionException:
        return False
    return not log_bytes(file)
