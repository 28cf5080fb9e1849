"""The queue between the receivers and the store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from kai_tracing_backend.storage.contract import StoreError, StoreFullError
from kai_tracing_backend.storage.queue import QueueFullError, WriteQueue
from kai_tracing_backend.testing.store_contract import batch, span


class SlowStore:
    """A store that waits until it may write, and remembers what it was given; it may fail."""

    def __init__(self) -> None:
        self.may_write = threading.Event()
        self.began = threading.Event()
        self.groups: list[int] = []
        self.failure: Callable[[Any], Exception | None] = lambda batch: None

    def write(self, given: Any) -> int:
        self.began.set()
        assert self.may_write.wait(30)
        if (error := self.failure(given)) is not None:
            raise error
        self.groups.append(given.num_rows)
        return int(given.num_rows)


def test_what_waits_is_written_together_and_bounded() -> None:
    """One commit for all that came during another one; more than may wait is refused; the rest is written at close."""
    store = SlowStore()
    one = batch(span())
    queue = WriteQueue(store, max_bytes=one.nbytes * 4)
    futures = [queue.submit(one)]
    assert store.began.wait(30)
    futures += [queue.submit(one) for _ in range(3)]
    with pytest.raises(QueueFullError):
        queue.submit(one)
    store.may_write.set()
    assert [future.result(30) for future in futures] == [1, 1, 1, 1]
    assert store.groups == [1, 3]
    queue.submit(one)
    queue.close()
    assert sum(store.groups) == 5
    with pytest.raises(QueueFullError):
        queue.submit(one)


def test_a_commit_waits_for_what_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that are being decoded come into the same commit, until there is enough of them; not for ever."""
    store = SlowStore()
    store.may_write.set()
    queue = WriteQueue(store)
    monkeypatch.setattr("kai_tracing_backend.storage.queue._PATIENCE", 600.0)
    with queue.coming():
        with queue.coming():
            first = queue.submit(batch(span()))
        second = queue.submit(batch(span(2), span(3)))
    assert (first.result(30), second.result(30), store.groups) == (1, 2, [3])
    monkeypatch.setattr("kai_tracing_backend.storage.queue._ENOUGH_ROWS", 2)
    with queue.coming():
        assert queue.submit(batch(span(4), span(5))).result(30) == 2
    monkeypatch.setattr("kai_tracing_backend.storage.queue._PATIENCE", 0.01)
    with queue.coming():
        assert queue.submit(batch(span(6))).result(30) == 1
    queue.close()


def test_one_batch_that_cannot_be_written_fails_alone() -> None:
    """The others of its group are stored; where there is no room, all are told so, and nothing is tried twice."""
    store = SlowStore()
    queue = WriteQueue(store)
    first = queue.submit(batch(span()))
    assert store.began.wait(30)
    store.failure = lambda given: StoreError("bad") if "bad" in given["name"].to_pylist() else None
    good, bad = queue.submit(batch(span(2))), queue.submit(batch(span(3, name="bad")))
    store.may_write.set()
    assert (first.result(30), good.result(30)) == (1, 1)
    with pytest.raises(StoreError, match="bad"):
        bad.result(30)
    store.failure = lambda given: StoreFullError("no room")
    with pytest.raises(StoreFullError):
        queue.submit(batch(span(4))).result(30)
    queue.close()
