"""`python -m benchmarks.backend.soak [SECONDS]`: a store in mixed use for a while; nothing may fail, memory stays flat.

Spans are written at a steady rate through the write queue, while others ask for traces, searches, rates and the service
map, and the oldest day is deleted whenever there are more than three. A day passes in a twelfth of the time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kai_tracing_backend.language import parse
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.storage.queue import WriteQueue

from benchmarks.backend.spans import DAY, DAY_START, batches

__all__ = ["Soak"]

_DAYS = 12
_KEPT = 3
_ROWS = 1_000
_GROWTH = 0.25  # of the memory after a third of the time: caches are full by then


@dataclass
class Soak:
    """One run."""

    seconds: float
    rate: int
    errors: list[str] = field(default_factory=list)
    written: int = 0
    asked: int = 0
    deleted: int = 0
    slowest: float = 0.0
    memory: list[int] = field(default_factory=list)

    def run(self, folder: Path) -> None:
        """Soak a store in this folder."""
        self._until = time.monotonic() + self.seconds
        self._store = DuckDBStore(folder, memory_limit="500MB")
        queue = WriteQueue(self._store)
        trace_ids: list[str] = []
        asking = threading.Thread(target=self._guarded, args=(self._ask, trace_ids))
        asking.start()
        self._guarded(self._write, queue, trace_ids)
        asking.join()
        queue.close()
        self._guarded(self._check)
        self._store.close()

    def growth(self) -> float:
        """By which share memory grew after the first third of the time."""
        early = self.memory[len(self.memory) // 3]
        return max(self.memory[-max(1, len(self.memory) // 10) :]) / early - 1

    def _guarded(self, work: Any, *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception as error:
            self.errors.append(repr(error))

    def _write(self, queue: WriteQueue, trace_ids: list[str]) -> None:
        began = time.monotonic()
        for batch in batches(int(self.seconds * self.rate), _ROWS, days=_DAYS):
            if time.monotonic() > self._until:
                return
            time.sleep(max(0.0, began + self.written / self.rate - time.monotonic()))
            sent = time.monotonic()
            queue.submit(batch).result(60)
            self.slowest = max(self.slowest, time.monotonic() - sent)
            self.written += batch.num_rows
            first = batch.slice(0, 1).to_pylist()[0]
            trace_ids[:] = [*trace_ids[-20:], f"{first['trace_high']:016x}{first['trace_low']:016x}"]
            self.memory.append(_resident())
            for day in sorted(self._store.days())[:-_KEPT]:
                self._store.delete_day(day)
                self.deleted += 1

    def _ask(self, trace_ids: list[str]) -> None:
        window = (DAY_START, DAY_START + _DAYS * DAY)
        query = parse('{ resource.service.name = "cart" && duration > 100ms }')
        while time.monotonic() < self._until:
            if trace_ids and not self._store.trace(trace_ids[-1]):
                self.errors.append(f"trace {trace_ids[-1]} is not there")
            self._store.search(query, *window)
            self._store.rates(*window)
            self._store.dependencies(*window, peers=True)
            self._store.statistics()
            self.asked += 5
            time.sleep(0.05)

    def _check(self) -> None:
        counted = sum(rate.spans for rate in self._store.rates(0, 1 << 62))
        if counted != self.written:
            self.errors.append(f"{self.written} spans were acknowledged, {counted} are counted")


def _resident() -> int:
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * 4096 if pages.exists() else 1


def main() -> None:
    """Soak, print what happened, and fail where something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backend.soak", description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=600)
    parser.add_argument("--rate", type=int, default=10_000, help="spans a second: half of what one core takes")
    arguments = parser.parse_args()
    soak = Soak(arguments.seconds, arguments.rate)
    with tempfile.TemporaryDirectory() as folder:
        soak.run(Path(folder))
    print(
        f"{soak.written:,} spans written, {soak.asked:,} questions, {soak.deleted} days deleted, "
        f"slowest commit {soak.slowest:.2f} s, memory {soak.memory[-1] >> 20} MiB ({soak.growth():+.0%}), "
        f"{len(soak.errors)} errors"
    )
    if soak.errors:
        sys.exit("\n".join(soak.errors[:10]))
    if arguments.seconds >= 60 and soak.growth() > _GROWTH:
        sys.exit("memory grew")


if __name__ == "__main__":
    main()
