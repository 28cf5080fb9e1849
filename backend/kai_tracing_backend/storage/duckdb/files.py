"""The files of a store: attached to one DuckDB instance, of the right version, and nobody else's."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from kai_tracing_backend.storage.contract import StoreError, StoreFullError
from kai_tracing_backend.storage.duckdb.marks import move_durably
from kai_tracing_backend.storage.duckdb.statements import statement

__all__ = ["HISTORY", "VERSION", "DayFile", "Files", "reported", "transaction"]

VERSION = 3
"""Of the tables; a file of an older version is migrated when it is opened, one of a newer version is refused."""

HISTORY = "history"

_MIGRATIONS: dict[int, str] = {1: "migrate_{}_1", 2: "migrate_{}_2"}
"""The statement's name that makes the next version of a version's tables; `{}` is `day` or `history`."""

_PATIENCE = 5.0  # seconds that a file is waited for

_NO_ROOM = ("No space left", "File too large", "Disk quota", "out of disk", "max_temp_directory_size")


class DayFile:
    """The spans of one day (UTC). `name` is what the file is called in SQL."""

    def __init__(self, path: Path, day: date) -> None:
        self.path = path
        self.day = day
        self.name = f"day_{day:%Y%m%d}"
        self.readers = 0
        # For its writer, where it is known: how many rows its runs have got, and whether consumers wait for producers.
        self.filled: int | None = None
        self.awaits: bool | None = None
        self.changing = threading.Lock()  # whoever moves or deletes spans has it, and takes it before the store's


class Files:
    """The DuckDB instance that a folder's files are attached to.

    Raises:
        StoreError: the folder cannot be made or another process has it, a file is newer than this package or cannot be
            read.
    """

    def __init__(self, folder: Path, memory_limit: str, threads: int) -> None:
        self.folder = folder
        self._options: dict[str, Any] = {"memory_limit": memory_limit, "threads": threads}
        self.days: dict[date, DayFile] = {}
        self._changed = threading.Condition()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder} cannot be a folder of spans: {error}. Choose another.") from error
        self._open()

    def _open(self) -> None:
        self._connection = duckdb.connect(
            ":memory:",
            config={
                **self._options,
                # Of each column of a run little is left: in larger blocks there is more of nothing.
                "default_block_size": 65_536,
                # What the lowest DuckDB that is supported can read; before, blocks of this size had no ALP for doubles.
                "storage_compatibility_version": "v1.5.0",
                # A commit waits for no checkpoint; `Maintenance` makes them.
                "checkpoint_threshold": "1GB",
                # What is freed is needed again for the next commit; `memory_limit` bounds it.
                "allocator_flush_threshold": "1GB",
                "temp_directory": str(self.folder / "temporary"),
                # Nothing is fetched from anywhere, and no Python variable is a table.
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "python_enable_replacements": False,
            },
        )
        # DuckDB 1.5 hands the range of a join's keys to Arrow as signed integers, which ids of 64 bits are not.
        self._connection.execute("SET disabled_optimizers = 'join_filter_pushdown'")
        try:
            self._attach(self.folder / "history.duckdb", HISTORY)  # its lock is the folder's
            self.days = {}
            for path in sorted(self.folder.glob("????-??-??.duckdb")):
                try:
                    found = DayFile(path, date.fromisoformat(path.stem))
                except ValueError:
                    continue  # not ours
                self._attach(path, found.name)
                self.days[found.day] = found
            self._finish_deletions()
        except BaseException:
            self._connection.close()
            raise

    def _attach(self, path: Path, name: str) -> None:
        try:
            self._attach_free(path, name)
        except duckdb.Error as error:
            if "lock" in str(error).lower():
                raise StoreError(
                    f"{self.folder} is in use by another process. Stop that one, or give this one another folder "
                    f"(TRACING_BACKEND_DATA)."
                ) from error
            raise StoreError(f"{path} cannot be opened: {error}. {_way_out(path, error)}") from error
        try:
            with self.cursor(name) as cursor:
                self._migrate(cursor, path, "history" if name == HISTORY else "day")
        except BaseException:
            self._connection.execute(f'DETACH "{name}"')
            raise

    def _attach_free(self, path: Path, name: str) -> None:
        """Attach a file; one that was detached is held until the last of those who had it open lets go."""
        quoted = str(path).replace("'", "''")  # before DuckDB 2.0 a path cannot be a parameter
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                self._connection.execute(f"ATTACH '{quoted}' AS \"{name}\"")
            except duckdb.Error as error:
                if "already attached" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.01)
            else:
                return

    def _migrate(self, cursor: duckdb.DuckDBPyConnection, path: Path, kind: str) -> None:
        tables = {name for (name,) in cursor.execute("SHOW TABLES").fetchall()}
        with transaction(cursor):
            if not tables:
                cursor.execute(statement(f"create_{kind}"))
                return
            if "meta" not in tables:
                raise StoreError(f"{path} is not a file of this store")
            ((version,),) = cursor.execute("SELECT version FROM meta").fetchall()
            if version > VERSION:
                raise StoreError(
                    f"{path} was written by a newer kai-tracing-backend (version {version} of its tables, this one "
                    f"knows {VERSION}). Upgrade kai-tracing-backend."
                )
            for older in range(version, VERSION):
                cursor.execute(statement(_MIGRATIONS[older].format(kind), spans="FROM spans"))
            if version < VERSION:
                cursor.execute("UPDATE meta SET version = $version", {"version": VERSION})

    def _finish_deletions(self) -> None:
        """What was copied into the history of a file that is still there is in the file, too: it counts there."""
        for file in self.days.values():
            own = self.id(file)
            with self.cursor(HISTORY) as cursor, transaction(cursor):
                for table in ("rates_recent", "rates", "rates_long", "edges"):
                    cursor.execute(f"DELETE FROM {table} WHERE day = $day", {"day": own})  # noqa: S608 - names above

    def id(self, file: DayFile) -> uuid.UUID:
        """What the history calls the file: a day that is deleted and filled again has another one."""
        with self.cursor(file.name) as cursor:
            ((found,),) = cursor.execute("SELECT id FROM meta").fetchall()
        return uuid.UUID(str(found))

    @contextmanager
    def cursor(self, name: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own to one of the files."""
        cursor = self._connection.cursor()
        try:
            cursor.execute(f'USE "{name}"')
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def reading(self, file: DayFile) -> Iterator[duckdb.DuckDBPyConnection | None]:
        """A connection to a day's file, which is not dropped meanwhile; None where it has been."""
        with self._changed:
            there = self.days.get(file.day) is file
            file.readers += there
        if not there:
            yield None
            return
        try:
            with self.cursor(file.name) as cursor:
                yield cursor
        finally:
            with self._changed:
                file.readers -= 1
                self._changed.notify_all()

    def day(self, day: date) -> DayFile:
        """The file of a day, made where there is none."""
        if (file := self.days.get(day)) is None:
            file = DayFile(self.folder / f"{day.isoformat()}.duckdb", day)
            self._attach(file.path, file.name)
            self.days = {**self.days, day: file}
        return file

    def drop(self, file: DayFile) -> None:
        """Delete a file, as soon as nobody reads it any more."""
        with self._changed:
            self.days = {day: other for day, other in self.days.items() if other is not file}
            self._changed.wait_for(lambda: file.readers == 0)
        self._connection.execute(f'DETACH "{file.name}"')
        file.path.unlink()
        file.path.with_name(f"{file.path.name}.wal").unlink(missing_ok=True)

    def replace(self, file: DayFile, copy: Path) -> bool:
        """Put a copy, which nothing is attached to, in the place of a file; False while somebody reads it.

        Nobody may write to the file meanwhile. Readers that come now wait, for as long as a rename takes.
        """
        with self._changed:
            if file.readers or self.days.get(file.day) is not file:
                return False
            self._connection.execute(f'DETACH "{file.name}"')
            try:
                move_durably(copy, file.path)
            finally:
                self._attach(file.path, file.name)
        return True

    def revive(self) -> None:
        """Attach again what DuckDB has given up since a checkpoint of it failed: all that was committed is in its log.

        Raises:
            StoreError: one cannot be attached now; the next call tries it again.
        """
        if self._given_up(HISTORY):
            with self._changed:
                self._attach_again(HISTORY, self.folder / "history.duckdb")
        for file in list(self.days.values()):
            if self._given_up(file.name):
                with self._changed:
                    self._changed.wait_for(lambda file=file: file.readers == 0)  # type: ignore[misc]  # they fail soon
                    if self.days.get(file.day) is file:
                        self._attach_again(file.name, file.path)

    def _attach_again(self, name: str, path: Path) -> None:
        if self._given_up(name):  # still, now that nobody else does this
            with suppress(duckdb.Error):  # it is detached then, too, and the checkpoint failed once more
                self._connection.execute(f'DETACH "{name}"')
            self._attach(path, name)

    def _given_up(self, name: str) -> bool:
        try:
            with self.cursor(name) as cursor:
                cursor.execute("SELECT version FROM meta")
        except duckdb.Error:
            return True
        return False

    def reopen(self) -> None:
        """Start again from what is on the disk: DuckDB refuses all work after a write that failed half-way."""
        self._connection.close()
        self._open()

    def close(self) -> None:
        """Write everything into its place and let go of the files."""
        self._connection.close()


@contextmanager
def transaction(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Everything or nothing."""
    cursor.execute("BEGIN")
    try:
        yield
        cursor.execute("COMMIT")
    except BaseException:
        try:
            cursor.execute("ROLLBACK")
        except duckdb.Error:
            pass  # a failed commit has rolled back already
        raise


def _way_out(path: Path, error: duckdb.Error) -> str:
    if any(sign in str(error) for sign in ("Permission denied", "Read-only file system")):
        return "This process has to be able to write there, or needs another folder (TRACING_BACKEND_DATA)."
    lost = "rates and dependencies of deleted days" if path.stem == HISTORY else f"the spans of {path.stem}"
    return f"Put it back from a copy; where it is broken for good, move it away: all but {lost} is there without it."


def reported(error: duckdb.Error) -> StoreError:
    """DuckDB's error as the contract has it."""
    if any(sign in str(error) for sign in _NO_ROOM):
        return StoreFullError(f"there is no room on the disk: {error}")
    return StoreError(str(error))
