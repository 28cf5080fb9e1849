"""The bounded queue between receivers and the store, and the thread that commits whatever waits in it as one batch."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Protocol

import pyarrow as pa

from kai_tracing_backend.storage.contract import StoreError, StoreFullError
from kai_tracing_backend.troubles import Trouble

__all__ = ["QueueFullError", "SpanWriter", "Stage", "WriteQueue"]

logger = logging.getLogger(__name__)

_MAX_ROWS = 100_000  # of one commit
_ENOUGH_ROWS = 20_000  # so many that what a commit costs by itself is little for each
_PATIENCE = 0.35  # seconds to wait for more of what is on its way


class QueueFullError(Exception):
    """More waits to be written than may: the sender has to come again."""


class Stage(Protocol):
    """A stage of what spans pass through between a receiver and the store; the last one is a `WriteQueue`."""

    @property
    def full(self) -> bool:
        """Whether an ordinary batch would be refused."""

    def submit(self, batch: pa.Table) -> Future[int]:
        """Take a batch (`columns.BATCH`). The future is done when it is durable, or has the error.

        Raises:
            QueueFullError: not now.
        """

    def close(self) -> None:
        """Finish what was begun; the stages behind it are still open."""


class SpanWriter(Protocol):
    """What a queue writes into: a store, or something in front of one."""

    def write(self, batch: pa.Table) -> int:
        """Make the batch durable; see `SpanStore.write`."""


class WriteQueue:
    """Takes batches and writes all that wait together: the more comes, the larger the commits.

    A commit costs as much as some thousand spans whatever is in it, so it also waits, a moment, for what is `coming`.
    `max_bytes` is how much may wait. A single batch that is larger is taken when nothing else waits. `committed` is
    told of every commit: its spans, how many of them were new, and the seconds it took.
    """

    def __init__(
        self,
        store: SpanWriter,
        max_bytes: int = 256 << 20,
        committed: Callable[[int, int, float], None] | None = None,
    ) -> None:
        self._store = store
        self._committed = committed
        self._faults = Trouble(logger)
        self.max_bytes = max_bytes
        self.bytes = 0
        self.spans = 0
        self._waiting: deque[tuple[pa.Table, Future[int]]] = deque()
        self._changed = threading.Condition()
        self._coming = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="kai-tracing-writer", daemon=True)
        self._thread.start()

    def submit(self, batch: pa.Table) -> Future[int]:
        """Queue a batch. The future is done when it is committed: with its spans, or with the store's error.

        Raises:
            QueueFullError: too much waits already, or the queue is closed.
        """
        future: Future[int] = Future()
        if batch.num_rows == 0:
            future.set_result(0)
            return future
        future.set_running_or_notify_cancel()  # a sender that goes away must not cancel what is being written
        size = batch.nbytes
        with self._changed:
            if self._closed:
                raise QueueFullError("the backend is shutting down")
            if self.bytes and self.bytes + size > self.max_bytes:
                raise QueueFullError("too many spans wait to be written")
            self.bytes += size
            self.spans += batch.num_rows
            self._waiting.append((batch, future))
            self._changed.notify()
        return future

    @contextmanager
    def coming(self) -> Iterator[None]:
        """While it is open a batch is being made that will be submitted, if it is good."""
        self._expect(1)
        try:
            yield
        finally:
            self._expect(-1)

    def _expect(self, change: int) -> None:
        with self._changed:
            self._coming += change
            self._changed.notify()

    @property
    def full(self) -> bool:
        """Whether an ordinary batch would be refused."""
        return self.bytes >= self.max_bytes * 0.95

    def close(self) -> None:
        """Write what waits, then stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while group := self._take():
            self._write(group)

    def _take(self) -> list[tuple[pa.Table, Future[int]]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._changed.wait_for(lambda: not self._coming or self.spans >= _ENOUGH_ROWS or self._closed, _PATIENCE)
            group: list[tuple[pa.Table, Future[int]]] = []
            rows = 0
            while self._waiting and (not group or rows + self._waiting[0][0].num_rows <= _MAX_ROWS):
                group.append(self._waiting.popleft())
                rows += group[-1][0].num_rows
            return group

    def _write(self, group: list[tuple[pa.Table, Future[int]]]) -> None:
        batches = [batch for batch, _ in group]
        together = batches[0] if len(batches) == 1 else pa.concat_tables(batches)
        began = time.perf_counter()
        try:
            new = self._store.write(together)
        except Exception as error:
            if len(group) > 1 and not isinstance(error, StoreFullError):
                for one in group:  # one batch's fault is not the others'
                    self._write([one])
                return
            if not isinstance(error, (StoreError, QueueFullError)):
                self._faults.happened("a batch cannot be written", traceback=True)
            self._release(batches)
            for _, future in group:
                future.set_exception(error)
            return
        if self._committed is not None:
            self._committed(together.num_rows, new, time.perf_counter() - began)
        self._release(batches)
        for batch, future in group:
            future.set_result(batch.num_rows)

    def _release(self, batches: list[pa.Table]) -> None:
        with self._changed:
            self.bytes -= sum(batch.nbytes for batch in batches)
            self.spans -= sum(batch.num_rows for batch in batches)
