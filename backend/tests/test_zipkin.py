"""Zipkin's formats: real requests to a real port, and the decoders behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kai_tracing_backend.app import Backend
from kai_tracing_backend.collector.zipkin import decode as decode_zipkin
from kai_tracing_backend.model import Edge
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.testing.store_contract import EVER

from tests.support.backend import ask
from tests.support.otlp import NOW


def zipkin(**fields: Any) -> dict[str, Any]:
    """A span in Zipkin's JSON."""
    return {
        "traceId": "1",
        "id": "1",
        "timestamp": NOW // 1_000,
        "duration": 7,
        "name": "get",
        "localEndpoint": {"serviceName": "front"},
        **fields,
    }


def test_zipkin_spans(backend: Backend) -> None:
    """202; kind, endpoints, tags, annotations and the error are where they belong; 400 where nothing is a span."""
    port = backend.settings.zipkin_port
    one = zipkin(
        kind="CLIENT",
        tags={"http.method": "GET", "error": ""},
        annotations=[{"timestamp": NOW // 1_000, "value": "ws"}],
        remoteEndpoint={"serviceName": "db", "ipv4": "10.0.0.1", "port": 5432},
        debug=True,
        parentId="2",
    )
    answer = ask(port, "/api/v2/spans", json.dumps([one, {"traceId": "xyz"}]).encode())
    assert (answer.status, answer.body) == (202, b"traceId must be hexadecimal")
    (found,) = backend.tenants.get().store.trace("1")
    assert (found.kind, found.duration, found.status, found.parent_id) == (3, 7_000, 2, f"{2:016x}")
    assert found.attributes == {
        "http.method": "GET",
        "error": "",
        "peer.service": "db",
        "network.peer.address": "10.0.0.1",
        "network.peer.port": 5432,
        "zipkin.debug": True,
    }
    assert [event.name for event in found.events] == ["ws"]
    for wrong in (b"{}", b"[5]", b'[{"traceId":"1","id":"1"}]', b'[{"traceId":"1","id":"1","annotations":5}]'):
        assert ask(port, "/api/v2/spans", wrong).status == 400


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_two_halves_of_a_call_with_one_id_are_one_dependency(tmp_path: Path, order: tuple[int, ...]) -> None:
    """Zipkin's shared spans, with a child under the server's half, in every order."""
    store = DuckDBStore(tmp_path)
    spans = [
        zipkin(kind="CLIENT"),
        zipkin(kind="SERVER", shared=True, localEndpoint={"serviceName": "back"}),
        zipkin(id="3", parentId="1", kind="CLIENT", localEndpoint={"serviceName": "back"}),
    ]
    for index in order:
        columns, accepted = decode_zipkin(json.dumps([spans[index]]).encode())
        assert not accepted.rejected
        store.write(columns.finish())
    assert store.dependencies(*EVER) == [Edge("front", "back", 1, 1.0, 0)]
    store.close()
