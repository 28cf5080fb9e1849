"""`kai-tracing serve` as a process: what it prints, and that it keeps what it acknowledged whatever happens to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from kai_tracing_backend.language import all_of
from kai_tracing_backend.settings import BackendSettings
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.backend import free_ports

KILLS = 3
PER_REQUEST = 20


def start(*options: object) -> subprocess.Popen[str]:
    """`kai-tracing serve` with these options; a port that is not among them is off."""
    off = {f"TRACING_BACKEND_{name.upper()}": "0" for name in BackendSettings.model_fields if name.endswith("_port")}
    command = [str(Path(sys.executable).with_name("kai-tracing")), "serve", *map(str, options)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **off}
    )


def request_of(trace: int) -> bytes:
    """A trace of two services in one OTLP request."""
    request = ExportTraceServiceRequest()
    for service, numbers in (("front", range(1, PER_REQUEST)), ("back", [PER_REQUEST])):
        of_resource = request.resource_spans.add()
        of_resource.resource.attributes.add(key="service.name").value.string_value = service
        spans = of_resource.scope_spans.add().spans
        for number in numbers:
            now = time.time_ns()
            spans.add(
                trace_id=trace.to_bytes(16, "big"),
                span_id=number.to_bytes(8, "big"),
                parent_span_id=b"" if number == 1 else (1).to_bytes(8, "big"),
                name=f"op{number}",
                start_time_unix_nano=now,
                end_time_unix_nano=now + 1_000,
            )
    return request.SerializeToString()


class Sender(threading.Thread):
    """Sends traces one after the other until it is stopped, and remembers which were acknowledged.

    As an exporter does, it sends what was not acknowledged again.
    """

    def __init__(self, port: int, first: int) -> None:
        super().__init__()
        self.port = port
        self.trace = first
        self.acknowledged: list[int] = []
        self.progress = threading.Semaphore(0)
        self.stopped = threading.Event()

    def run(self) -> None:
        """Send."""
        body = request_of(self.trace)
        while not self.stopped.is_set():
            headers = {"Content-Type": "application/x-protobuf"}
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/traces", body, headers)
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    assert answer.status == 200
            except (OSError, urllib.error.URLError):
                self.stopped.wait(0.02)
                continue
            self.acknowledged.append(self.trace)
            self.progress.release()
            self.trace += 1
            body = request_of(self.trace)


def test_nothing_acknowledged_is_lost_by_kill(tmp_path: Path) -> None:
    """Killed under load, again and again: every acknowledged trace is there whole, once, in the rates and the edges.

    Unacknowledged requests are sent again, as exporters do, so that some are stored already: they count once.
    """
    data, port = tmp_path / "data", free_ports(1)[0]
    senders = [Sender(port, 1_000_000 * number + 1) for number in range(1, 4)]
    options = ("--data", data, "--otlp-http-port", port)
    process = start(*options)
    for sender in senders:
        sender.start()
    try:
        for _ in range(KILLS):
            for sender in senders:
                for _ in range(4):
                    assert sender.progress.acquire(timeout=60)
            process.kill()
            process.communicate(timeout=30)
            for sender in senders:  # what was acknowledged before the kill
                while sender.progress.acquire(blocking=False):
                    pass
            process = start(*options)
        for sender in senders:
            assert sender.progress.acquire(timeout=60)
    finally:
        for sender in senders:
            sender.stopped.set()
        for sender in senders:
            sender.join(30)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors

    acknowledged = {trace for sender in senders for trace in sender.acknowledged}
    assert len(acknowledged) > KILLS * len(senders) * 4
    store = DuckDBStore(data)
    page = store.search(all_of(), 0, 1 << 62, limit=1_000_000)
    stored = {int(found.summary.trace_id, 16): found.summary.spans for found in page.traces}
    assert acknowledged <= set(stored)
    assert set(stored.values()) == {PER_REQUEST}
    assert sum(rate.spans for rate in store.rates(0, 1 << 62)) == PER_REQUEST * len(stored)
    assert [edge.calls for edge in store.dependencies(0, 1 << 62)] == [len(stored)]
    store.close()


def test_it_says_where_it_listens_and_stops_when_told(tmp_path: Path) -> None:
    """The ports on standard output; SIGTERM ends it with 0; by default its folder is the only thing it needs."""
    port = free_ports(1)[0]
    process = start("--data", tmp_path, "--api-port", port)
    assert process.stdout is not None
    lines = [process.stdout.readline(), process.stdout.readline()]
    assert f"http://127.0.0.1:{port}" in lines[1]
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, "", "")


def test_a_start_that_cannot_be_names_what_is_wrong(tmp_path: Path) -> None:
    """A taken port, a folder in use and a bad setting: one line, no traceback, and an exit status."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start("--data", tmp_path, "--api-port", port)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "TRACING_BACKEND_API_PORT" in errors
    store = DuckDBStore(tmp_path)
    process = start("--data", tmp_path)
    _, errors = process.communicate(timeout=60)
    store.close()
    assert "in use by another process" in errors
    process = start("--data", tmp_path, "--memory-limit", "lots")
    _, errors = process.communicate(timeout=60)
    assert "TRACING_BACKEND_MEMORY_LIMIT" in errors
    assert "Traceback" not in errors
