"""`python -m benchmarks.backend.retention`: what plan and sweep of a large store take, and what commits do meanwhile.

A store is filled with days that are over. Spans of today are written at a steady rate, as a busy backend does: alone,
while a plan is made, and while it is applied. A commit must not take longer for that.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kai_tracing_backend.metrics import Metrics
from kai_tracing_backend.retention.archive import Archive
from kai_tracing_backend.retention.keeper import Keeper
from kai_tracing_backend.retention.source import PolicySource
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.tenants import DEFAULT_TENANT, Tenant, Tenants

from benchmarks.backend.spans import DAY, batches

_POLICY = """
rules:
  - {name: errors, match: {error: true}, keep: 1000d}
  - {name: slowest, match: {slowest: 1%}, keep: 1000d, archive: true}
  - {name: rest, keep: 1d}
"""


class Commits:
    """Writes today's spans at a rate on a thread of its own, and notes how long each commit takes."""

    def __init__(self, tenant: Tenant, rate: float, rows: int) -> None:
        self._tenant, self._rate, self._rows = tenant, rate, rows
        self._took: list[float] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def going(self) -> Iterator[Commits]:
        """Until the end of the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self._done.set()
            self._thread.join()

    def during(self, name: str, step: Callable[[], object]) -> None:
        """Print how long a step took, and commits meanwhile."""
        self._took.clear()
        began = time.perf_counter()
        step()
        seconds, took = time.perf_counter() - began, sorted(self._took)
        half, last = took[len(took) // 2], took[int(0.99 * len(took))]
        print(
            f"| {name} | {seconds:.1f} s | {half * 1e3:.0f} ms | {last * 1e3:.0f} ms | {took[-1] * 1e3:.0f} ms |",
            flush=True,
        )

    def _run(self) -> None:
        today = time.time_ns() // DAY * DAY
        due = time.monotonic()
        for turn in itertools.count():
            for batch in batches(100_000, self._rows, seed=turn + 2, days=0.01, start=today):
                if self._done.wait(max(0.0, due - time.monotonic())):
                    return
                due = max(due, time.monotonic() - 1.0) + batch.num_rows / self._rate
                began = time.perf_counter()
                self._tenant.queue.submit(batch).result(120)
                self._took.append(time.perf_counter() - began)


def main() -> None:
    """Fill, measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backend.retention", description=__doc__)
    parser.add_argument("--spans", type=int, default=3_000_000)
    parser.add_argument("--days", type=int, default=2, help="that they are spread over")
    parser.add_argument("--rate", type=float, default=3_000, help="spans a second that are written meanwhile")
    parser.add_argument("--rows", type=int, default=300, help="spans of one commit of these")
    parser.add_argument("--alone", type=float, default=20, help="seconds of writing without anything else")
    parser.add_argument("--store", type=Path, help="a filled store to use; it is changed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.store or Path(temporary) / "store"
        if arguments.store is None:
            _fill(folder, arguments.spans, arguments.days)
        policy = Path(temporary) / "retention.yaml"
        policy.write_text(_POLICY)
        tenants = Tenants(lambda _: DuckDBStore(folder), 256 << 20)
        archive = Archive(Path(temporary) / "archive")
        keeper = Keeper(tenants, PolicySource(policy), archive, Metrics(), lambda: [DEFAULT_TENANT], 0)
        keeper.start()
        try:
            with Commits(tenants.get(), arguments.rate, arguments.rows).going() as commits:
                _measure(commits, keeper, tenants.get(), folder, arguments.alone)
        finally:
            keeper.stop()
            tenants.close()


def _fill(folder: Path, spans: int, days: int) -> None:
    store = DuckDBStore(folder)
    first = (time.time_ns() // DAY - days - 1) * DAY
    for batch in batches(spans, 50_000, days=days, start=first):
        store.write(batch)
    store.settle()
    store.close()


def _measure(commits: Commits, keeper: Keeper, tenant: Tenant, folder: Path, alone: float) -> None:
    before = _size(folder)
    print("| | took | a commit meanwhile: median | 99th percentile | maximum |")
    print("| --- | ---: | ---: | ---: | ---: |")
    time.sleep(2)
    commits.during("nothing else", lambda: time.sleep(alone))
    commits.during("plan", lambda: keeper.plan(tenant))
    commits.during("plan again", lambda: keeper.plan(tenant))
    plan = keeper.plan(tenant)
    commits.during("sweep", lambda: _sweep(keeper, tenant, plan.id))
    commits.during("nothing else, again", lambda: time.sleep(alone))
    sweep = keeper.last_sweep(tenant)
    assert sweep is not None
    dropped = sweep.dropped
    print(
        f"\n{dropped.spans:,} spans of {dropped.traces:,} traces were dropped; {dropped.bytes >> 20} MiB freed of "
        f"{before >> 20}, {_size(folder) >> 20} left; {sweep.error or 'no error'}"
    )


def _sweep(keeper: Keeper, tenant: Tenant, plan_id: str) -> None:
    sweep = keeper.apply(tenant, plan_id)
    while sweep.ended is None:
        time.sleep(0.05)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


if __name__ == "__main__":
    main()
