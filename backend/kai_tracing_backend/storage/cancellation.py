"""Bounds for reads of a store: a time, a number of rows, and somebody who no longer waits for the answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import TracebackType

from typing_extensions import Self

from kai_tracing_backend.storage.contract import QueryCancelledError, QueryTimeoutError, QueryTooLargeError

__all__ = ["Cancellation", "guarded", "read_rows"]

_AGAIN = 0.02
"""Seconds between interrupts: one that comes before the statement has begun is lost."""

_current: ContextVar[Cancellation | None] = ContextVar("kai_tracing_cancellation", default=None)


class Cancellation:
    """While it is entered, the reads of every store in this context (and threads that got a copy of it) are bounded.

    `timeout` is in seconds, `max_rows` how many rows the reads may fetch together; None is no bound. `cancel` may be
    called from any thread, at any time; only reads of this context end.

        with Cancellation(timeout=5) as cancellation:
            store.search(query, start, end)

    Raises:
        QueryTimeoutError, QueryTooLargeError, QueryCancelledError: from the read that was under way, or the next one.
    """

    def __init__(self, *, timeout: float | None = None, max_rows: int | None = None) -> None:
        self._timeout = timeout
        self._max_rows = max_rows
        self._deadline: float | None = None
        self._rows = 0
        self._cancelled = False
        self._ended = False
        self._interrupts: dict[int, Callable[[], object]] = {}
        self._changed = threading.Condition()
        self._watcher: threading.Thread | None = None
        self._token: Token[Cancellation | None] | None = None

    def __enter__(self) -> Self:
        """Bound the reads from here on; the time begins."""
        if self._timeout is not None:
            self._deadline = time.monotonic() + self._timeout
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """No longer bound anything."""
        if self._token is not None:
            _current.reset(self._token)
            self._token = None
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """End the reads that are under way, and all later ones."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()

    def check(self) -> None:
        """Nothing, or the error that a read ends with from now on."""
        if self._cancelled:
            raise QueryCancelledError("the query was cancelled")
        if self._expired():
            raise QueryTimeoutError(
                f"the query took longer than {self._timeout:g} s: ask for a shorter window, add a condition on a "
                f"service, or allow more time"
            )
        if self._max_rows is not None and self._rows > self._max_rows:
            raise QueryTooLargeError(
                f"the query reads more than {self._max_rows} rows: ask for a shorter window, a smaller limit, or add "
                f"a condition"
            )

    def add_rows(self, count: int) -> None:
        """So many more rows were fetched."""
        self._rows += count
        self.check()

    @contextmanager
    def guard(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """A read that `interrupt` makes end with an error; whatever error then comes out, it is the bound's."""
        self.check()
        with self._changed:
            self._interrupts[id(interrupt)] = interrupt
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="kai-tracing-cancellation", daemon=True)
                self._watcher.start()
            self._changed.notify_all()
        try:
            yield
        except Exception:
            self.check()
            raise
        finally:
            with self._changed:
                del self._interrupts[id(interrupt)]

    def _expired(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _watch(self) -> None:
        """Interrupt what is under way once it has to end, until it has."""
        with self._changed:
            while not self._ended:
                if self._interrupts and (self._cancelled or self._expired()):
                    for interrupt in self._interrupts.values():
                        interrupt()
                    self._changed.wait(_AGAIN)
                else:
                    left = None if self._deadline is None else max(self._deadline - time.monotonic(), _AGAIN)
                    self._changed.wait(left)


@contextmanager
def guarded(interrupt: Callable[[], object]) -> Iterator[None]:
    """A read under the bounds of the context, if it has any."""
    current = _current.get()
    if current is None:
        yield
        return
    with current.guard(interrupt):
        yield


def read_rows(count: int) -> None:
    """So many rows were fetched; raises where the context allows fewer."""
    current = _current.get()
    if current is not None:
        current.add_rows(count)
