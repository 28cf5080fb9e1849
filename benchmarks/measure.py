"""What a case measures with: each helper returns one figure, taken in the worker's own process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import quantiles
from time import process_time_ns, thread_time_ns

INSTRUCTIONS = os.environ.get("BENCH_INSTRUCTIONS")
"""What callgrind counts, if it does: one chunk of the `body`, which is enough without noise, or `nothing` at all."""
SCALE = float(os.environ.get("BENCH_SCALE", "1"))
"""By what to multiply the work; `--quick` makes it small."""


def calling_thread(
    body: Callable[[int], None], *, chunk: int, chunks: int = 15, spans: int = 1, between: Callable[[], object] = int
) -> float:
    """Nanoseconds of CPU time of this thread for one of the `spans` that each turn of `body(turns)` makes.

    `between` is called, unmeasured, after every chunk of `chunk` turns: to empty a queue before it is full. The
    figure is the lower quartile of the chunks, since load on the machine only ever adds.
    """
    body(max(1, chunk // 4))
    between()
    if INSTRUCTIONS:
        with _counted():
            body(chunk if INSTRUCTIONS == "body" else 0)
        return float(chunk * spans)
    figures = []
    gc.collect()
    for _ in range(max(3, int(chunks * SCALE))):
        before = thread_time_ns()
        body(chunk)
        figures.append((thread_time_ns() - before) / (chunk * spans))
        between()
    return quantiles(figures, n=4)[0]


def whole_process(body: Callable[[int], None], *, chunk: int, chunks: int = 15, spans: int = 1) -> float:
    """Microseconds of CPU time of all threads for one of the `spans` of each turn; `body` returns when all are sent."""
    body(chunk)
    figures = []
    gc.collect()
    for _ in range(max(3, int(chunks * SCALE))):
        before = process_time_ns()
        body(chunk)
        figures.append((process_time_ns() - before) / (chunk * spans) / 1e3)
    return quantiles(figures, n=4)[0]


def memory(body: Callable[[int], None], flush: Callable[[], object], *, count: int) -> float:
    """Bytes that stay allocated for one of the `count` spans that `body` queues; `flush` empties the queue."""
    body(100)
    flush()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    body(count)
    gc.collect()
    return (tracemalloc.get_traced_memory()[0] - before) / count


def start_up(program: str, *, cached: bool = True, **environment: str) -> float:
    """Milliseconds of CPU time that a fresh interpreter needs for `program`, beyond its own start.

    With its bytecode `cached`, as pip leaves it, or all of it compiled anew, as in a container image without any.
    """
    timed = f"import time\nbefore = time.process_time()\n{program}\nprint(time.process_time() - before, flush=True)"
    environ = {**os.environ, **environment}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)

    def run() -> float:
        # Not where this project's own pyproject.toml is, which speaks of kai_tracing and would be parsed.
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run(
                [sys.executable, "-c", timed], cwd=empty, env=environ, check=True, capture_output=True, timeout=120
            )
        return float(done.stdout.split()[-1]) * 1e3

    if cached:
        run()  # which leaves the bytecode behind
        return run()
    with tempfile.TemporaryDirectory() as nothing:
        environ.update(PYTHONPYCACHEPREFIX=nothing, PYTHONDONTWRITEBYTECODE="1")
        return run()


@contextmanager
def _counted() -> Iterator[None]:
    """Have callgrind, under which this process runs, count the instructions of the block."""
    # Another process turns the counting on and off, so that starting the tool for it is not counted.
    script = f"while read word; do callgrind_control -i $word {os.getpid()} >/dev/null; echo; done"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as switch:
        assert switch.stdin is not None
        assert switch.stdout is not None
        switch.stdin.write(b"on\n")
        switch.stdout.read(1)
        yield
        switch.stdin.write(b"off\n")
        switch.stdout.read(1)
        switch.stdin.close()
