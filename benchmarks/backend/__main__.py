"""`python -m benchmarks.backend`: fill a store with generated spans, and measure what writing and asking take."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pyarrow as pa
from kai_tracing_backend.language import parse
from kai_tracing_backend.storage.duckdb.store import DuckDBStore

from benchmarks.backend.spans import DAY, DAY_START, batches

_TURNS = 15


def main() -> None:
    """Print a table: what was measured and its budget."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backend", description=__doc__)
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=10_000, help="spans of one commit")
    parser.add_argument("--days", type=float, help="over how much time they are spread; by default 10 million a day")
    parser.add_argument("--threads", type=int, default=2, help="threads of the store")
    parser.add_argument("--folder", type=Path, help="where to keep the store; by default it is gone afterwards")
    arguments = parser.parse_args()
    days = arguments.days or min(1.0, arguments.spans / 10e6)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        store = DuckDBStore(folder, threads=arguments.threads, memory_limit="2GB")
        try:
            print(f"| {arguments.spans:,} spans, commits of {arguments.rows:,} | measured | budget |")
            print("| --- | ---: | ---: |")
            written, sample = _write(store, arguments.spans, arguments.rows, days)
            store.close()
            size = sum(path.stat().st_size for path in folder.iterdir())
            _row("bytes a span on the disk", f"{size / written:.0f}", "≤ 80")
            store = DuckDBStore(folder, threads=arguments.threads, memory_limit="2GB")
            _ask(store, sample, DAY_START, DAY_START + int(days * DAY))
        finally:
            store.close()


def _write(store: DuckDBStore, spans: int, rows: int, days: float) -> tuple[int, pa.Table]:
    """Write them all. Returns how many there were, and one batch from the middle."""
    processor, longest, written = 0.0, 0.0, 0
    sample = None
    for batch in batches(spans, rows, days=days):
        before, began = time.process_time(), time.perf_counter()
        written += store.write(batch)
        processor += time.process_time() - before
        longest = max(longest, time.perf_counter() - began)
        if sample is None or written <= spans // 2:
            sample = batch
    _row(
        "columns to committed rows, spans a second of one core", f"{written / processor:,.0f}", "≥ 25,000 with decoding"
    )
    _row("the longest commit", f"{longest * 1e3:.0f} ms", "")
    assert sample is not None
    return written, sample


def _ask(store: DuckDBStore, sample: pa.Table, start: int, end: int) -> None:
    chance = random.Random(1)
    rows = [chance.randrange(sample.num_rows) for _ in range(_TURNS)]
    ids = [f"{sample['trace_high'][row].as_py():016x}{sample['trace_low'][row].as_py():016x}" for row in rows]
    users = [dict(found)["user.id"] for found in sample["attributes_string"].to_pylist() if "user.id" in dict(found)]
    services = sample["service"].to_pylist()

    def search(text: str) -> object:
        return store.search(parse(text), start, end)

    asked: list[tuple[str, str, Callable[[int], object]]] = [
        ("trace by id", "≤ 50 ms", lambda turn: store.trace(ids[turn])),
        (
            "search: service, duration and attribute",
            "≤ 50 ms",
            lambda turn: search(
                f'{{ resource.service.name = "{services[rows[turn]]}" && duration > 50ms'
                ' && span.http.request.method = "GET" }'
            ),
        ),
        ("search: a user, over all", "≤ 50 ms", lambda turn: search(f'{{ span.user.id = "{users[turn * 7]}" }}')),
        ("rate, errors and durations of all operations, over all", "≤ 150 ms", lambda _: store.rates(start, end)),
        ("service map, over all", "≤ 150 ms", lambda _: store.dependencies(start, end, peers=True)),
        ("statistics", "", lambda _: store.statistics()),
    ]
    for name, budget, ask in asked:
        times = []
        for turn in range(_TURNS):
            began = time.perf_counter()
            ask(turn)
            times.append(time.perf_counter() - began)
        _row(name, f"{median(times) * 1e3:.0f} ms", budget)


def _row(name: str, measured: str, budget: str) -> None:
    print(f"| {name} | {measured} | {budget} |", flush=True)


if __name__ == "__main__":
    main()
