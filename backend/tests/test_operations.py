"""What an operator sees of the backend: metrics and readiness."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kai_tracing_backend.app import Backend
from kai_tracing_backend.metrics import Metrics
from kai_tracing_backend.self_tracing import SERVICE
from kai_tracing_backend.settings import BackendSettings
from kai_tracing_backend.storage.queue import WriteQueue
from kai_tracing_backend.tenants import Tenants
from kai_tracing_backend.testing.store_contract import EVER, batch, span

from tests.support.backend import ask, free_ports, running, scraped


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    """A running backend, empty."""
    with running(tmp_path) as made:
        yield made


def zipkin(number: int, **fields: object) -> dict[str, object]:
    """A span in Zipkin's JSON."""
    now = time.time_ns() // 1_000
    return {"traceId": f"{number:x}", "id": "1", "timestamp": now, "duration": 1, "name": "op", **fields}


def test_metrics_count_what_came_and_what_became_of_it(backend: Backend) -> None:
    """Received, stored, duplicate and rejected spans by receiver, requests by status, bytes, commits, disk, queries."""
    port = backend.settings.zipkin_port
    spans = [zipkin(1), zipkin(2), zipkin(3, traceId="xyz"), zipkin(4, id="0")]
    body = json.dumps(spans).encode()
    assert ask(port, "/api/v2/spans", body).status == 202
    assert ask(port, "/api/v2/spans", body).status == 202
    assert ask(port, "/api/v2/spans", b"{").status == 400
    assert ask(backend.settings.api_port, "/api/v1/traces/1").status == 200
    found = scraped(backend.settings.api_port)
    whose = (("receiver", "zipkin"), ("tenant", "default"))
    assert found["received_spans_total", whose] == 4
    assert found["stored_spans_total", (("tenant", "default"),)] == 2
    assert found["duplicate_spans_total", (("tenant", "default"),)] == 2
    assert found["rejected_spans_total", (("reason", "id"), *whose)] == 4
    by_status = {labels[1][1]: value for (name, labels), value in found.items() if name == "requests_total"}
    assert by_status == {"202": 2, "400": 1}
    assert found["request_bytes_total", whose] == 2 * len(body) + 1
    assert found["commit_seconds_count", (("tenant", "default"),)] == 2
    assert found["commit_spans_sum", (("tenant", "default"),)] == 4
    assert found["queue_spans", (("tenant", "default"),)] == 0
    assert found["store_bytes", (("tenant", "default"),)] > 0
    assert found["query_seconds_count", (("route", "/api/v1/traces/{trace_id}"), ("status", "200"))] == 1


def test_labels_are_bounded(backend: Backend) -> None:
    """A thousand unknown paths are one route, and tenants past the first hundred are one tenant."""
    for number in range(20):
        assert ask(backend.settings.api_port, f"/nothing/{number}").status == 404
    found = scraped(backend.settings.api_port)
    assert found["query_seconds_count", (("route", "other"), ("status", "404"))] == 20
    metrics = Metrics()
    assert {metrics.tenant(f"t{number}") for number in range(200)} == {*(f"t{n}" for n in range(100)), "other"}
    assert metrics.tenant("t5") == "t5"


def test_ready_is_who_has_room(backend: Backend) -> None:
    """503 with the reason while the queue is full or the store is closed; alive all the same."""
    port = backend.settings.api_port
    assert ask(port, "/readyz").status == 200
    tenant = backend.tenants.get()
    tenant.queue.bytes += tenant.queue.max_bytes
    answer = ask(port, "/readyz")
    assert (answer.status, answer.json) == (503, {"error": "the write queue is full"})
    tenant.queue.bytes -= tenant.queue.max_bytes
    assert ask(port, "/readyz").status == 200
    tenant.store.close()
    answer = ask(port, "/readyz")
    assert (answer.status, answer.json) == (503, {"error": "the store is closed"})
    assert ask(port, "/healthz").status == 200


def test_a_sender_that_goes_away_does_not_stop_the_queue() -> None:
    """What it waited for is cancelled by asyncio; the writer goes on with the next batch."""

    class Store:
        def write(self, given: object) -> int:
            return 1

    queue = WriteQueue(Store())
    queue.submit(batch(span())).cancel()
    assert queue.submit(batch(span())).result(30) == 1
    queue.close()


def test_what_cannot_be_built_leaves_no_store_open() -> None:
    """A tenant whose pipeline cannot be made closes its store and can be opened again."""
    closed: list[str] = []

    class Store:
        def close(self) -> None:
            closed.append("closed")

    def fail(tenant: object) -> object:
        raise OSError("no")

    tenants = Tenants(lambda name: Store(), 1 << 20, build=fail)
    with pytest.raises(OSError, match="no"):
        tenants.get()
    assert closed == ["closed"]
    assert tenants.opened() == []


# -- its own traces and its log ----------------------------------------------------------------------------------------


def test_its_own_requests_are_traced_without_an_end_to_it(tmp_path: Path) -> None:
    """A span for each request to a receiver and to the API, under its own name; storing them makes no more of them."""
    with running(tmp_path, self_tracing=True) as backend:
        assert backend.tracing is not None
        for number in range(3):
            body = json.dumps([zipkin(number + 1)]).encode()
            assert ask(backend.settings.zipkin_port, "/api/v2/spans", body).status == 202
        assert ask(backend.settings.api_port, "/api/v1/traces/1").status == 200
        for path in ("/healthz", "/readyz", "/metrics"):
            assert ask(backend.settings.api_port, path).status == 200
        store = backend.tenants.get().store
        counts = []
        for _ in range(4):
            assert backend.tracing.flush(30)
            counts.append({rate.name: rate.spans for rate in store.rates(*EVER) if rate.service == SERVICE})
        assert counts == [{"POST /api/v2/spans": 3, "GET /api/v1/traces/{trace_id}": 1}] * 4


def test_logs_in_json_know_their_trace(tmp_path: Path) -> None:
    """A process with JSON logs and traces of its own: the line about a rejected span has the trace of its request."""
    names = (*BackendSettings.ports(), "data", "log_format", "self_tracing")
    values = [*free_ports(len(BackendSettings.ports())), tmp_path / "data", "json", "true"]
    settings = {f"TRACING_BACKEND_{name.upper()}": str(value) for name, value in zip(names, values, strict=True)}
    port = settings["TRACING_BACKEND_ZIPKIN_PORT"]
    command = [str(Path(sys.executable).with_name("kai-tracing")), "serve"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env={**os.environ, **settings}, cwd=tmp_path, **pipes) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if f":{port}" in line:
                    break
            secret = {"Authorization": "Bearer hunter2"}
            body = json.dumps([zipkin(1), zipkin(2, id="0")]).encode()
            deadline = time.monotonic() + 60
            while True:
                try:
                    assert ask(int(port), "/api/v2/spans", body, **secret).status == 202
                    break
                except OSError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    (line,) = (found for found in map(json.loads, log.splitlines()) if "rejected" in found["message"])
    assert (line["level"], line["logger"]) == ("warning", "kai_tracing_backend.collector.intake")
    assert len(line["trace_id"]) == 32
    assert len(line["span_id"]) == 16
    assert "hunter2" not in log
