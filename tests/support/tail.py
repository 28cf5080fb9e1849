"""Tail sampling's stage without a store behind it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

import pyarrow as pa
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.sampling.tail import TailOptions, TailSampling
from kai_tracing_backend.storage.contract import StoreFullError
from kai_tracing_backend.storage.queue import QueueFullError
from kai_tracing_backend.testing.store_contract import batch

__all__ = ["IMMEDIATE", "Make", "Sink", "ids", "put", "settle"]

IMMEDIATE = TailOptions(root_wait=0.0, max_wait=1e6)
Make = Callable[..., TailSampling]


class Sink:
    """The stage behind: keeps what it is given, may refuse or fail, and can be waited for."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.refuse = self.fail = False
        self.changed = threading.Condition()
        self.full = False
        self.tried = 0

    def submit(self, given: pa.Table) -> Future[int]:
        future: Future[int] = Future()
        with self.changed:
            self.tried += 1
            self.changed.notify_all()
            if self.refuse:
                raise QueueFullError("full")
            if self.fail:
                future.set_exception(StoreFullError("no room"))
                return future
            self.rows += given.to_pylist()
            self.changed.notify_all()
        future.set_result(given.num_rows)
        return future

    def close(self) -> None:
        """Nothing to do."""

    def wait(self, rows: int) -> None:
        """Until so many have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.rows) >= rows, 60), len(self.rows)

    def wait_tried(self, times: int) -> None:
        """Until something was submitted so often, successfully or not."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.tried >= times, 60), self.tried

    @property
    def traces(self) -> set[int]:
        return {row["trace_high"] << 64 | row["trace_low"] for row in self.rows}


def ids(seed: int) -> Iterator[int]:
    """Random trace ids, always the same."""
    source = random.Random(seed)
    return iter(lambda: source.getrandbits(128) | 1, 0)


def put(stage: TailSampling, spans: Iterable[StoredSpan]) -> None:
    """Submit, and wait for the acknowledgement."""
    stage.submit(batch(*spans)).result(60)


def settle(stage: TailSampling) -> None:
    """Wait until everything is decided."""
    deadline = time.monotonic() + 60
    while stage.held[0]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
