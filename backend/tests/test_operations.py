"""What an operator sees of the backend: metrics and readiness."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kai_tracing_backend.app import Backend
from kai_tracing_backend.metrics import Metrics
from kai_tracing_backend.storage.queue import WriteQueue
from kai_tracing_backend.tenants import Tenants
from kai_tracing_backend.testing.store_contract import batch, span

from tests.support.backend import ask, running, scraped


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

    queue = WriteQueue(Store())  # type: ignore[arg-type]
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

    tenants = Tenants(lambda name: Store(), 1 << 20, build=fail)  # type: ignore[arg-type, return-value]
    with pytest.raises(OSError, match="no"):
        tenants.get()
    assert closed == ["closed"]
    assert tenants.opened() == []
