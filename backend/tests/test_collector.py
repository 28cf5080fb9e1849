"""What is true of every receiver: what is answered is stored, exactly and once."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from kai_tracing_backend.app import Backend
from kai_tracing_backend.language import all_of
from kai_tracing_backend.storage.contract import SpanStore, StoreError, StoreFullError
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.storage.queue import QueueFullError
from kai_tracing_backend.testing.store_contract import EVER, batch, span

from tests.support.backend import PROTOBUF, ask, settings_in
from tests.support.otlp import NOW, message
from tests.support.recordings import DATA, needs_data

ZIPKIN = json.dumps([{"traceId": "1", "id": "1", "timestamp": NOW // 1_000}]).encode()


@pytest.mark.parametrize(("error", "status"), [(StoreFullError("x"), 503), (StoreError("x"), 503), (None, 429)])
def test_a_sender_is_told_to_come_again(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, error: Exception | None, status: int
) -> None:
    """Disk full, store broken, queue full: 503 or 429 with Retry-After; afterwards it is taken."""
    body = message(count=1).SerializeToString()

    def fail(given: Any) -> Any:
        raise error or QueueFullError("full")

    with monkeypatch.context() as patch:
        patch.setattr(
            backend.tenants.get().queue if error is None else backend.tenants.get().store,
            "submit" if error is None else "write",
            fail,
        )
        answer = ask(backend.settings.otlp_http_port, "/v1/traces", body, PROTOBUF)
        assert answer.status == status
        assert int(answer.headers["Retry-After"]) > 0
        assert Status.FromString(answer.body).message
        zipkin_answer = ask(backend.settings.zipkin_port, "/api/v2/spans", ZIPKIN)
        assert (zipkin_answer.status, "Retry-After" in zipkin_answer.headers) == (status, True)
    assert ask(backend.settings.otlp_http_port, "/v1/traces", body, PROTOBUF).status == 200


@needs_data
def test_the_shop_is_stored_exactly(tmp_path: Path) -> None:
    """A recorded minute of a real shop, over HTTP: spans, traces, services and edges are exact.

    They are those of its truth file, also when every request comes twice, and after a restart.
    """
    truth = json.loads((DATA / "onlineboutique.truth.json").read_text())
    with gzip.open(DATA / "onlineboutique.otlp.jsonl.gz") as lines:
        requests = [line.strip() for line in lines]

    def check(store: SpanStore) -> None:
        rates = store.rates(*EVER)
        assert sum(rate.spans for rate in rates) == truth["spans"]
        per_service: dict[str, int] = {}
        for rate in rates:
            per_service[rate.service] = per_service.get(rate.service, 0) + rate.spans
        assert per_service == truth["spans_per_service"]
        assert store.services() == sorted(truth["services"])
        assert sum(len(store.operations(service)) for service in store.services()) == truth["operations"]
        edges = {(edge.parent, edge.child): edge.calls for edge in store.dependencies(*EVER)}
        assert edges == {(edge["parent"], edge["child"]): edge["callCount"] for edge in truth["edges"]}
        found = [one.summary for one in store.search(all_of(), *EVER, limit=10_000).traces]
        assert {summary.trace_id: summary.spans for summary in found} == truth["spans_per_trace"]
        size, largest = truth["largest"]
        assert len(store.trace(largest)) == size

    settings = settings_in(tmp_path)

    async def run() -> None:
        backend = Backend(settings)
        running = asyncio.create_task(backend.run())
        for body in [*requests, *requests]:
            answer = await asyncio.to_thread(ask, settings.otlp_http_port, "/v1/traces", body)
            assert (answer.status, answer.json) == (200, {})
        await asyncio.to_thread(check, backend.tenants.get().store)
        services = await asyncio.to_thread(ask, settings.api_port, "/api/v1/services")
        assert services.json["services"] == sorted(truth["services"])
        backend.stop()
        await running

    asyncio.run(run())
    store = DuckDBStore(settings.data)
    check(store)
    store.close()


def test_the_api(backend: Backend) -> None:
    """Health, services, a trace by its id or the end of it; clear answers for what is not there."""
    port = backend.settings.api_port
    assert ask(port, "/healthz").json == {"status": "ok"}
    assert ask(port, "/readyz").json == {"status": "ready"}
    backend.tenants.get().store.write(batch(span(5, 1, attributes={"n": 1}), span(5, 2, 1, service="b")))
    assert ask(port, "/api/v1/services").json == {"services": ["a", "b"], "cursor": None}
    found = ask(port, "/api/v1/traces/5").json
    assert found["traceId"] == f"{5:032x}"
    assert [one["service"] for one in found["spans"]] == ["a", "b"]
    assert found["spans"][0]["attributes"] == [{"key": "n", "value": {"intValue": "1"}}]
    assert ask(port, "/api/v1/traces/6").status == 404
    assert ask(port, "/api/v1/traces/xyz").status == 400
