"""The disk spool: encoded batches that wait while the backend is away, and outlive the process.

A file is one batch: a line of header (magic, number of spans, length, CRC-32) and the payload. It is written under
another name, synchronised and renamed, so that a file with its final name is whole unless the disk lost part of it;
the checksum tells. Several processes may share a directory: a file is sent under its lock, which the kernel releases
when a process dies, and is renamed before the sending begins, so that a successor knows what may have arrived.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Spool", "SpoolFile", "SpoolOptions"]

if sys.platform == "win32":  # pragma: no cover - Windows
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


logger = logging.getLogger(__name__)

_MAGIC = b"kai-tracing-spool-1"
_WAITING = ".batch"
_SENDING = ".sending"
_TEMPORARY = ".tmp"
_HEADER_LIMIT = 200
_ABANDONED_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """Where the spool is and how many bytes it may hold."""

    directory: Path
    max_bytes: int = 64 * 1024 * 1024


class SpoolFile:
    """One batch on disk, locked by us."""

    __slots__ = ("count", "path", "payload", "resent")

    def __init__(self, path: Path, count: int, payload: bytes, *, resent: bool) -> None:
        self.path = path
        self.count = count
        self.payload = payload
        self.resent = resent


class Spool:
    """A bounded directory of batches, oldest first. Losses are counted in `dropped`, in spans where known."""

    def __init__(self, directory: Path, *, max_bytes: int, kind: str) -> None:
        """`kind` keeps apart what different exporters encode. Raises OSError where the directory cannot be made."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self.max_bytes = max_bytes
        self.dropped: Counter[str] = Counter()
        self.resent = 0
        self._kind = kind
        self._numbers = itertools.count()
        self._remove_abandoned()

    def put(self, payload: bytes, count: int) -> None:
        """Keep a batch of `count` spans, dropping the oldest ones where there is no room. Raises OSError."""
        header = b"%s %d %d %08x\n" % (_MAGIC, count, len(payload), zlib.crc32(payload))
        size = len(header) + len(payload)
        if size > self.max_bytes:
            self.dropped["spool_full"] += count
            return
        self._make_room(size)
        name = f"{self._kind}-{time.time_ns():020d}-{os.getpid()}-{next(self._numbers):06d}-{count}"
        temporary = self.directory / (name + _TEMPORARY)
        with temporary.open("wb") as file:
            file.write(header + payload)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.directory / (name + _WAITING))

    def pending(self) -> int:
        """How many spans wait, by the names of the files."""
        return sum(_count(path) for path in self._files())

    def empty(self) -> bool:
        """Whether no batch waits."""
        return not self._files()

    @contextlib.contextmanager
    def oldest(self) -> Iterator[SpoolFile | None]:
        """The oldest whole batch that no other process is sending, locked while the block runs; None if there is none.

        The block calls `done` when the batch was dealt with and `put_back` when it was not sent after all.
        """
        for path in self._files():
            handle = self._open_locked(path)
            if handle is None:
                continue
            try:
                found = self._read(path, handle)
                if found is not None:
                    yield found
                    return
            finally:
                os.close(handle)
        yield None

    def begin(self, file: SpoolFile) -> None:
        """Note on disk that the sending begins."""
        if file.path.suffix != _SENDING:
            file.path = file.path.rename(file.path.with_suffix(_SENDING))

    def put_back(self, file: SpoolFile) -> None:
        """The backend certainly did not take it: no successor need fear to send it twice."""
        if file.path.suffix == _SENDING and not file.resent:
            file.path = file.path.rename(file.path.with_suffix(_WAITING))

    def done(self, file: SpoolFile) -> None:
        """Delete the batch: it was delivered, or will never be."""
        file.path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        try:
            paths = sorted(self.directory.glob(f"{self._kind}-*"))
        except OSError:  # pragma: no cover - a disk that fails
            return []
        return [path for path in paths if path.suffix in (_WAITING, _SENDING)]

    def _open_locked(self, path: Path) -> int | None:
        try:
            handle = os.open(path, os.O_RDWR)
        except OSError:  # pragma: no cover - another process dealt with it meanwhile
            return None
        try:
            _lock(handle)
            if not os.fstat(handle).st_nlink or not path.exists():
                raise FileNotFoundError(path)  # pragma: no cover - another process was quicker
        except OSError:
            os.close(handle)
            return None
        return handle

    def _read(self, path: Path, handle: int) -> SpoolFile | None:
        try:
            with os.fdopen(os.dup(handle), "rb") as file:
                content = file.read(self.max_bytes + _HEADER_LIMIT)
            header, _, payload = content.partition(b"\n")
            magic, count, length, checksum = header.split(b" ")
            whole = magic == _MAGIC and len(payload) == int(length) and zlib.crc32(payload) == int(checksum, 16)
        except (OSError, ValueError):
            whole = False
        if not whole:
            logger.warning("%s is torn; its %d spans are dropped", path.name, _count(path))
            self.dropped["spool_torn"] += _count(path)
            path.unlink(missing_ok=True)
            return None
        resent = path.suffix == _SENDING
        if resent:
            self.resent += int(count)
        return SpoolFile(path, int(count), payload, resent=resent)

    def _make_room(self, size: int) -> None:
        sizes = {path: _size(path) for path in self._files()}
        used = sum(sizes.values())
        for path, taken in sizes.items():
            if used + size <= self.max_bytes:
                return
            handle = self._open_locked(path)
            if handle is not None:
                self.dropped["spool_full"] += _count(path)
                path.unlink(missing_ok=True)
                os.close(handle)
                used -= taken

    def _remove_abandoned(self) -> None:
        """Temporary files of processes that died while writing; what is being written now is younger."""
        for path in self.directory.glob(f"{self._kind}-*{_TEMPORARY}"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()


def _count(path: Path) -> int:
    try:
        return int(path.stem.rpartition("-")[2])
    except ValueError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
