"""The journal of tail sampling: what is acknowledged and not yet decided or stored, on the disk.

A segment is a file of records; a record is what one `append` was given: verdicts, and spans as an Arrow stream. A
verdict is in the segment of the spans it is about or in a later one, and segments go oldest first, so that no span is
ever found without the verdict that was reached about it. What is cut off at the end of the last segment was never
acknowledged.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from kai_tracing_backend.storage.contract import StoreError, StoreFullError

__all__ = ["Journal", "Segment"]

logger = logging.getLogger(__name__)

_HEADER = struct.Struct("<4sIIQ")  # magic, CRC-32 of the rest, verdicts, bytes of spans
_VERDICT = struct.Struct("<16sd")
_MAGIC = b"KTJ1"
_SUFFIX = ".journal"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WRITE_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", emit_dictionary_deltas=False)

Verdicts = Mapping[int, float]
"""By trace id: the probability that the trace was kept with, 0 where it was left out."""


class Segment:
    """A file of the journal; `open` is how many of its spans are still needed."""

    __slots__ = ("number", "open", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = int(path.stem)
        self.open = 0


class Journal:
    """Records in a folder, in files of about `segment_bytes` or `segment_seconds`. Not thread-safe.

    The folder is this process's alone, as the store's is.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = 32 << 20,
        segment_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises StoreError where the folder cannot be made or read."""
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._segment_seconds = segment_seconds
        self._clock = clock
        self._file: BinaryIO | None = None
        self._rotate_at = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._segments = deque(Segment(path) for path in sorted(folder.glob(f"*{_SUFFIX}")) if path.stem.isdigit())
        except OSError as error:
            raise StoreError(f"the journal of tail sampling cannot be used: {error}") from error
        self._next = self._segments[-1].number + 1 if self._segments else 1

    # -- reading -----------------------------------------------------------------------------------------------------

    def verdicts(self) -> dict[int, float]:
        """The verdicts that an earlier process left."""
        return {trace_id: chance for _, found, _ in self._records() for trace_id, chance in found.items()}

    def spans(self) -> Iterator[tuple[Segment, pa.Table]]:
        """The spans that an earlier process left, oldest first. They are open until they are released."""
        for segment in self._segments:
            segment.open += 1  # so that it stays while it is read
        for segment, _, table in self._records():
            if table is not None:
                segment.open += table.num_rows
                yield segment, table
        for segment in list(self._segments):
            self.release(segment, 1)

    def _records(self) -> Iterator[tuple[Segment, dict[int, float], pa.Table | None]]:
        segments = list(self._segments)
        for segment in segments:
            with segment.path.open("rb") as file:
                for verdicts, table in _read(file, last=segment is segments[-1]):
                    yield segment, verdicts, table

    # -- writing -----------------------------------------------------------------------------------------------------

    def append(self, spans: pa.Table | None, verdicts: Verdicts) -> Segment:
        """Write a record; when it returns it outlives the process and the machine. The spans are open.

        Raises:
            StoreFullError: there is no room; nothing was written.
            StoreError: it cannot be written.
        """
        if self._file is None or self._file.tell() >= self._segment_bytes or self._clock() >= self._rotate_at:
            self._rotate()
        file = self._file
        assert file is not None  # noqa: S101 - `_rotate` opens it or raises
        good = file.tell()
        try:
            file.write(_encode(spans, verdicts))
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            self._abandon(good)
            raise _reported(error) from error
        segment = self._segments[-1]
        if spans is not None:
            segment.open += spans.num_rows
        return segment

    def _rotate(self) -> None:
        self._seal()
        path = self.folder / f"{self._next:012d}{_SUFFIX}"
        try:
            self._file = path.open("xb")
            _sync_folder(self.folder)
        except OSError as error:
            raise _reported(error) from error
        self._next += 1
        self._segments.append(Segment(path))
        self._rotate_at = self._clock() + self._segment_seconds

    def _abandon(self, good: int) -> None:
        """Write no more into a file whose end may be half a record, and take that away."""
        if (file := self._file) is None:
            return
        self._file = None
        try:
            file.close()  # tries to write what is still in its buffer, once more
        except OSError as error:
            logger.debug("a broken segment was closed: %s", error)
        try:
            os.truncate(self._segments[-1].path, good)
        except OSError as error:
            logger.warning("%s has half a record at its end, which is skipped: %s", self._segments[-1].path, error)

    def _seal(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def release(self, segment: Segment, spans: int) -> None:
        """So many of the segment's spans are not needed any more; what nobody needs is deleted."""
        segment.open -= spans
        self.sweep()

    def sweep(self) -> None:
        """Delete the oldest segments as far as none of their spans is needed."""
        while self._segments and self._segments[0].open <= 0:
            if len(self._segments) == 1:
                self._seal()
            segment = self._segments.popleft()
            segment.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; what is needed stays for the next process."""
        self._seal()


def _encode(spans: pa.Table | None, verdicts: Verdicts) -> bytes:
    body = b"".join(_VERDICT.pack(trace_id.to_bytes(16, "big"), chance) for trace_id, chance in verdicts.items())
    size = 0
    if spans is not None:
        stream = pa.BufferOutputStream()
        with pa.ipc.new_stream(stream, spans.schema, options=_WRITE_OPTIONS) as writer:
            writer.write_table(spans)
        encoded = stream.getvalue()
        size = encoded.size
        body += encoded.to_pybytes()
    return _HEADER.pack(_MAGIC, zlib.crc32(body), len(verdicts), size) + body


def _read(file: BinaryIO, *, last: bool) -> Iterator[tuple[dict[int, float], pa.Table | None]]:
    end = os.fstat(file.fileno()).st_size
    while (offset := file.tell()) < end:
        header = file.read(_HEADER.size)
        body = b""
        if len(header) == _HEADER.size:
            magic, checksum, count, size = _HEADER.unpack(header)
            length = count * _VERDICT.size + size
            if magic == _MAGIC and length <= end - file.tell():
                body = file.read(length)
        if not body or zlib.crc32(body) != checksum:
            if not last:  # at the end of the last one, it is what was being written when the process died
                logger.error("%s is broken at byte %d: what follows in it is lost", file.name, offset)
            return
        split = count * _VERDICT.size
        verdicts = {int.from_bytes(trace, "big"): chance for trace, chance in _VERDICT.iter_unpack(body[:split])}
        yield verdicts, pa.ipc.open_stream(body[split:]).read_all() if size else None


def _sync_folder(folder: Path) -> None:
    """Make the names of new files durable; where a folder cannot be opened (Windows) that is not needed."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reported(error: OSError) -> StoreError:
    if error.errno in _NO_ROOM:
        return StoreFullError(f"there is no room on the disk: {error}")
    return StoreError(f"the journal of tail sampling cannot be written: {error}")
