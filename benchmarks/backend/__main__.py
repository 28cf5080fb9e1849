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

from benchmarks.backend.ingest import ingested
from benchmarks.backend.spans import DAY, DAY_START, batches

_TURNS = 15


def main() -> None:
    """Print a table: what was measured and its budget."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backend", description=__doc__)
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=10_000, help="spans of one commit")
    parser.add_argument("--days", type=float, help="over how much time they are spread; by default 10 million a day")
    parser.add_argument("--threads", type=int, default=2, help="threads of the store")
    parser.add_argument("--ingest", type=float, default=30.0, help="seconds of sending to a server; 0 leaves it out")
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
        if arguments.ingest:
            served = Path(temporary) / "served"
            served.mkdir()
            sent, used = ingested(served, arguments.ingest)
            _row("OTLP/HTTP to settled rows, spans a second of one core", f"{sent / used:,.0f}", "≥ 25,000")


def _write(store: DuckDBStore, spans: int, rows: int, days: float) -> tuple[int, pa.Table]:
    """Write and settle them all. Returns how many there were, and one batch from the middle."""
    written, making, marked = 0, 0.0, time.process_time()
    took: list[float] = []
    rates: list[float] = []
    sample = None
    made = batches(spans, rows, days=days)
    while True:
        before = time.thread_time()
        if (batch := next(made, None)) is None:
            break
        making += time.thread_time() - before
        began = time.perf_counter()
        written += store.write(batch)
        took.append(time.perf_counter() - began)
        if sample is None or written <= spans // 2:
            sample = batch
        if written * 10 >= spans * (len(rates) + 1):
            used = time.process_time() - marked - making
            rates.append(spans / 10 / used)
            making, marked = 0.0, time.process_time()
    assert sample is not None
    store.settle()  # and what a sweep of the retention does
    for day in store.days():
        store.retention.compact(day, 0.05)
    tenths = f"first tenth {rates[0]:,.0f}, last {rates[-1]:,.0f}"
    mean = len(rates) / sum(1 / rate for rate in rates)
    _row(f"columns to rows, spans a second of one core ({tenths})", f"{mean:,.0f}", "≥ 25,000 with decoding")
    took.sort()
    for name, share in (("median", 0.5), ("99th percentile", 0.99), ("maximum", 1.0)):
        _row(f"a commit: {name}", f"{took[min(len(took) - 1, int(share * len(took)))] * 1e3:,.0f} ms", "")
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
        ("search: no trace takes so long, over all", "≤ 1 s", lambda _: search("{ traceDuration > 1h }")),
        (
            "search: no trace has so many spans of a service, over all",
            "≤ 1 s",
            lambda turn: search(f'{{ resource.service.name = "{services[rows[turn]]}" }} | count() > 1000'),
        ),
        (
            "search: two filters, one of which finds nothing, over all",
            "≤ 1 s",
            lambda turn: search(
                f'{{ span.http.response.status_code = 418 }} && {{ resource.service.name = "{services[rows[turn]]}" }}'
            ),
        ),
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
