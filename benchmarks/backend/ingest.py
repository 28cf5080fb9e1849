"""How many spans the backend takes with one core: OTLP over HTTP, from the socket to settled rows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.backend.load import SECOND, Requests, Server, Traffic

__all__ = ["ingested"]

_STOCK, _ROWS = 50_000, 1_000  # spans of the stock of requests, and of one of them
_SENDERS = 32
_DAY = 86_400 * SECOND
_PATIENCE = 180.0  # seconds for the rest to be settled, which begins a minute after the last span of a day that is over


def ingested(folder: Path, seconds: float) -> tuple[int, float]:
    """Send for so long as fast as a server answers that has one core. Returns how many spans, and its seconds for them.

    The spans are of a day that is over, so that all of them are settled in the end, and that is waited for. In their
    own times, too, they take as long.
    """
    requests = Requests(_STOCK, _ROWS)
    end = time.time_ns() // _DAY * _DAY - _DAY // 2
    with _first_core():
        server = Server(folder)
    try:
        before = server.processor()
        traffic = Traffic(server, requests, seconds, None, days=seconds * SECOND / _DAY, end=end)
        traffic.run(_SENDERS)
        _settled(server)
        if traffic.errors:
            raise RuntimeError("; ".join(traffic.errors))
        return traffic.spans, server.processor() - before
    finally:
        server.stop()


def _settled(server: Server) -> None:
    """Wait until nothing is in the logs any more, which is when the last checkpoint of the days was made."""
    until = time.monotonic() + _PATIENCE
    while any(path.stat().st_size for path in server.data.glob("????-??-??.duckdb.wal")):
        if time.monotonic() > until:
            raise RuntimeError(f"after {_PATIENCE:g} seconds spans wait still to be settled")
        time.sleep(1)


@contextmanager
def _first_core() -> Iterator[None]:
    """What is started here has that core alone; where it can be, the senders have the others."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores - {min(cores)} or cores)
