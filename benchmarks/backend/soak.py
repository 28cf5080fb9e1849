"""`python -m benchmarks.backend.soak [SECONDS]`: a backend in mixed use for a while; nothing fails, memory stays flat.

First it is measured what this machine takes. Then a fresh `kai-tracing serve` gets half of it from several senders,
while others ask for traces, searches, rates and the service map. Twelve days pass in the spans' times, up to today. Its
retention drops by rules and keeps the store below a size, sweep after sweep: a fifth of what it would be, and what came
since the last sweeps.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.backend.load import SECOND, Requests, Server, Traffic

__all__ = ["Soak"]

_DAYS = 12
_SENDERS = 4
_GROWTH = 0.25
_POLICY = """
rules:
  - {{name: errors, match: {{error: true}}, keep: 30d}}
  - {{name: slowest, match: {{slowest: 1%}}, keep: 14d, archive: true}}
  - {{name: rest, keep: 8d}}
rollups: 13mo
max_size: {cap}MB
"""
_SPAN = 85  # bytes on the disk
_RECENT = 700  # bytes that one takes until it is settled, which what came since the last sweeps is not
_SEARCHES = (
    '{ resource.service.name = "cart" && duration > 100ms }',
    "{ status = error } | count() > 1",
    '{ span.http.route =~ "/api/cart/.*" } >> { span.db.system.name = "redis" }',
    '{ span.user.id = "u-00000007" }',
)


@dataclass
class Soak:
    """One run: `rate` spans a second; None is half of what is measured in `measured_for` seconds before."""

    seconds: float
    rate: float | None = None
    measured_for: float = 20.0
    stock: int = 40_000
    errors: list[str] = field(default_factory=list)
    written: int = 0
    asked: int = 0
    swept: int = 0
    slowest: float = 0.0
    reached: float = 0.0
    processor: float = 0.0
    alone: float = 0.0
    memory: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    sweeps: set[float] = field(default_factory=set)
    cap: int = 0

    def run(self, folder: Path) -> None:
        """Soak a backend in this folder."""
        requests = Requests(self.stock, 500)
        if self.rate is None:
            self.rate = self._measured(folder / "measured", requests) / 2
        soaked = folder / "soaked"
        soaked.mkdir(parents=True)
        policy = soaked / "retention.yaml"
        cap = max(16, int(self.rate * self.seconds * _SPAN / 5) >> 20)
        policy.write_text(_POLICY.format(cap=cap))
        interval = min(5.0, max(1.0, self.seconds / 40))
        self.cap = cap << 20
        server = Server(soaked, retention_file=policy, retention_interval=interval)
        try:
            self._use(server, requests)
            self._check(server)
        finally:
            status = server.stop()
        if status or "rror" in server.log.read_text():
            self.errors.append(f"exit status {status}: {server.log.read_text()[-1_000:]}")

    def growth(self) -> float:
        """By which share memory grew from the second third of the time to the last.

        In the first third DuckDB's cache, the allocator and the days' files that are open at once reach their size.
        """
        third = len(self.memory) // 3
        return median(self.memory[2 * third :]) / median(self.memory[third : 2 * third]) - 1

    def over(self) -> int:
        """By how many bytes the store was larger than its cap and what came in the longest time of two sweeps."""
        assert self.rate is not None
        longest = max((later - former for former, later in pairwise(sorted(self.sweeps))), default=self.seconds)
        return max(0, max(self.sizes) - self.cap - int(2 * longest * self.rate * _RECENT))

    def _measured(self, folder: Path, requests: Requests) -> float:
        folder.mkdir()
        server = Server(folder)
        try:
            before = server.processor()
            traffic = Traffic(server, requests, self.measured_for, None, days=0.2, end=time.time_ns())
            reached = traffic.run(_SENDERS)
            self.alone = traffic.spans / max(server.processor() - before, 0.01)
            return reached
        finally:
            server.stop()

    def _use(self, server: Server, requests: Requests) -> None:
        traffic = Traffic(server, requests, self.seconds, self.rate, days=_DAYS, end=time.time_ns())
        done = threading.Event()
        others = [threading.Thread(target=self._watch, args=(server, done))]
        others.append(threading.Thread(target=self._ask, args=(server, traffic, done)))
        for thread in others:
            thread.start()
        try:
            self.reached = traffic.run(_SENDERS)
        finally:
            done.set()
            for thread in others:
                thread.join()
        self.written, self.slowest, self.processor = traffic.spans, traffic.slowest, server.processor()
        self.errors += traffic.errors

    def _watch(self, server: Server, done: threading.Event) -> None:
        while not done.wait(min(1.0, self.seconds / 30)):
            self.memory.append(server.resident())
            self.sizes.append(_on_disk(server.data))
            try:
                sweep = server.ask("/api/v1/retention/status")["sweep"]
            except Exception as error:
                self.errors.append(f"asking how retention goes: {error!r}")
                continue
            if sweep and sweep["ended"]:
                self.sweeps.add(int(sweep["ended"]) / SECOND)

    def _ask(self, server: Server, traffic: Traffic, done: threading.Event) -> None:
        window = f"start={time.time_ns() - (_DAYS + 1) * 86_400 * SECOND}&end={time.time_ns() + 60 * SECOND}"
        turn = 0
        try:
            while not done.wait(0.2):
                if traffic.failed:  # what failed is kept
                    server.ask(f"/api/v1/traces/{traffic.failed}")
                query = urllib.parse.quote(_SEARCHES[turn % len(_SEARCHES)])
                server.ask(f"/api/v1/search?q={query}&{window}")
                server.ask(f"/api/v1/rates?{window}")
                server.ask(f"/api/v1/dependencies?{window}")
                server.ask("/api/v1/stats")
                turn += 1
                self.asked += 5
        except Exception as error:
            self.errors.append(f"asking, turn {turn}: {error!r}")

    def _check(self, server: Server) -> None:
        self._check_size(server)
        window = f"start={time.time_ns() - (_DAYS + 2) * 86_400 * SECOND}&end={time.time_ns() + 3_600 * SECOND}"
        counted, cursor = 0, ""
        while True:
            page = server.ask(f"/api/v1/rates?{window}&limit=1000{cursor}")
            counted += sum(rate["spans"] for rate in page["rates"])
            if not page.get("cursor"):
                break
            cursor = f"&cursor={urllib.parse.quote(page['cursor'])}"
        if counted != self.written:
            self.errors.append(f"{self.written} spans were acknowledged, {counted} are counted")
        for line in server.ask("/metrics").splitlines():
            if line.startswith("kai_tracing_backend_swept_spans_total{"):
                self.swept = int(float(line.split()[-1]))

    def _check_size(self, server: Server) -> None:
        """When nothing comes any more the next sweeps bring the store below its cap; each estimates what it frees."""
        ended = time.time_ns()
        until = time.monotonic() + 120
        while time.monotonic() < until:
            status = server.ask("/api/v1/retention/status")
            size = int(status["bytes"]) - sum(path.stat().st_size for path in server.data.glob("*.wal"))
            if (sweep := status["sweep"]) and sweep["ended"] and int(sweep["started"]) > ended and size <= self.cap:
                return
            time.sleep(0.5)
        self.errors.append(f"{size} bytes, two minutes after the last span, with a cap of {self.cap}")


def _on_disk(folder: Path) -> int:
    """Bytes of a store, without the copy that may become a day's file."""
    size = 0
    for path in folder.glob("*.duckdb*"):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size if ".compacting" not in path.name else 0
    return size


def main() -> None:
    """Soak, print what happened, and fail where something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backend.soak", description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=600)
    parser.add_argument("--rate", type=float, help="spans a second; by default half of what this machine takes")
    parser.add_argument("--folder", type=Path, help="an empty folder for the store; by default it is gone afterwards")
    arguments = parser.parse_args()
    soak = Soak(arguments.seconds, arguments.rate)
    with tempfile.TemporaryDirectory() as temporary:
        soak.run(arguments.folder or Path(temporary))
    print(
        f"{soak.written:,} spans written, {soak.reached:,.0f} a second of {soak.rate:,.0f} asked, "
        f"{soak.processor:.0f} s of processor time, {soak.alone:,.0f} spans a second of it without queries, "
        f"{soak.swept:,} swept in {len(soak.sweeps)} sweeps, {soak.asked:,} questions, "
        f"slowest request {soak.slowest:.2f} s, "
        f"store {soak.sizes[-1] >> 20} MiB, at most {max(soak.sizes) >> 20} (cap {soak.cap >> 20}), "
        f"memory {soak.memory[-1] >> 20} MiB, at most {max(soak.memory) >> 20} ({soak.growth():+.0%}), "
        f"{len(soak.errors)} errors"
    )
    if soak.errors:
        sys.exit("\n".join(soak.errors[:10]))
    if arguments.seconds >= 60 and soak.growth() > _GROWTH:
        sys.exit("memory grew")
    if arguments.seconds >= 60 and soak.over():
        sys.exit(f"the store grew by {soak.over() >> 20} MiB over its cap and what came in the time of two sweeps")


if __name__ == "__main__":
    main()
