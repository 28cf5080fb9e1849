"""A trace backend in a process of its own, and senders that keep it busy over OTLP/HTTP.

Requests are encoded once. Each turn sends all of them with other trace ids and later times, which costs next to
nothing: the senders leave the processor to the server.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kai_tracing_backend.columns import to_span
from kai_tracing_backend.formats.otlp import traces_message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.backend.spans import batches
from tests.support.serving import Serving

__all__ = ["SECOND", "Requests", "Server", "Traffic"]

SECOND = 1_000_000_000


class Server(Serving):
    """`kai-tracing serve` that answers, and takes OTLP over HTTP."""

    def __init__(self, folder: Path, **settings: object) -> None:
        super().__init__(folder, "otlp_http", **settings)
        self.wait()

    def ask(self, path: str) -> Any:
        """What the API answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['api']}{path}", timeout=120) as answer:
            body = answer.read()
        return json.loads(body) if answer.headers.get_content_type() == "application/json" else body.decode()

    def send(self, body: bytes) -> int:
        """Send spans. Returns how many seconds the backend asks to wait before they come again; 0 is stored."""
        headers = {"Content-Type": "application/x-protobuf"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['otlp_http']}/v1/traces", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=120):
                return 0
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (429, 503):
                    return int(error.headers.get("Retry-After", "1"))
            raise

    def resident(self) -> int:
        """Bytes of its memory."""
        pages = Path(f"/proc/{self.process.pid}/statm")
        return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if pages.exists() else 1

    def processor(self) -> float:
        """Seconds of processor time that it has taken; others on the machine do not change them."""
        told = Path(f"/proc/{self.process.pid}/stat")
        if not told.exists():
            return 0.0
        fields = told.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Requests:
    """A stock of requests of about `rows` spans each; `turn` makes them other traces."""

    def __init__(self, spans: int, rows: int) -> None:
        self._stock: list[tuple[bytes, int]] = []
        self._first: dict[bytes, int] = {}  # the request that a trace begins in
        for number, batch in enumerate(batches(spans, rows, days=spans / 10e6, start=0)):
            found = [to_span(row) for row in batch.to_pylist()]
            for span in found:
                self._first.setdefault(bytes.fromhex(span.trace_id), number)
            self._stock.append((traces_message(found).SerializeToString(), len(found)))
        self.spans = sum(count for _, count in self._stock)

    def turn(self, number: int, start: int, length: float) -> Iterator[tuple[bytes, int, str]]:
        """Every request with its number of spans and the id of a trace that failed, or "": other traces each turn.

        Traces begin from `start` on, evenly over `length` nanoseconds.
        """
        step = length / len(self._stock)
        for body, count in self._stock:
            request, failed = ExportTraceServiceRequest.FromString(body), ""
            for of_resource in request.resource_spans:
                for of_scope in of_resource.scope_spans:
                    for span in of_scope.spans:
                        shift = start + int(self._first[span.trace_id] * step)
                        span.trace_id = _changed(span.trace_id, number)
                        span.start_time_unix_nano += shift
                        span.end_time_unix_nano += shift
                        failed = failed or (span.trace_id.hex() if span.status.code == 2 else "")
            yield request.SerializeToString(), count, failed


def _changed(trace_id: bytes, number: int) -> bytes:
    return (int.from_bytes(trace_id, "big") ^ (number * 0x9E3779B97F4A7C15)).to_bytes(16, "big")


class Traffic:
    """Several senders at once, each with the next request when its last one was answered; `rate` None is all they can.

    `days` is how much time passes in the spans' own times in `seconds`, up to the moment `end`.
    """

    def __init__(
        self, server: Server, requests: Requests, seconds: float, rate: float | None, *, days: float, end: int
    ) -> None:
        self.spans = 0
        self.slowest = 0.0
        self.refused = 0
        self.failed = ""  # the last trace that did
        self.errors: list[str] = []
        self._server, self._seconds, self._rate = server, seconds, rate
        self._began = time.monotonic()
        self._until = self._began + seconds
        self._lock = threading.Lock()
        self._bodies = self._endless(requests, days, end)

    def run(self, senders: int) -> float:
        """Send until the time is over. Returns how many spans a second were acknowledged."""
        threads = [threading.Thread(target=self._work) for _ in range(senders)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.spans / (time.monotonic() - self._began)

    def _endless(self, requests: Requests, days: float, end: int) -> Iterator[tuple[bytes, int, str]]:
        """Requests as they are due, their spans' times going on from turn to turn."""
        whole = days * 86_400 * SECOND
        length = whole * min(1.0, requests.spans / (self._seconds * (self._rate or requests.spans)))
        due = 0
        for turn in itertools.count():
            for made in requests.turn(turn, end - int(max(length, whole - turn * length)), length):
                if self._rate:
                    time.sleep(max(0.0, self._began + due / self._rate - time.monotonic()))
                due += made[1]
                yield made

    def _work(self) -> None:
        try:
            while time.monotonic() < self._until:
                with self._lock:
                    body, count, failed = next(self._bodies)
                self._send(body)
                with self._lock:
                    self.spans += count
                    self.failed = failed or self.failed
        except Exception as error:
            self.errors.append(f"sender: {error!r}")
            raise

    def _send(self, body: bytes) -> None:
        began = time.monotonic()
        while wait := self._server.send(body):
            self.refused += 1
            time.sleep(min(wait, 5))
        self.slowest = max(self.slowest, time.monotonic() - began)
