"""Spans without a timestamp, which Zipkin's formats allow: kept, with a time that is told to be a guess."""

from __future__ import annotations

import json
import time
from typing import Any

from kai_tracing_backend.app import Backend
from kai_tracing_backend.collector.zipkin import decode
from kai_tracing_backend.columns import NO_TIMESTAMP, to_span
from kai_tracing_backend.formats.zipkin import span_document
from kai_tracing_backend.model import Edge, StoredSpan
from kai_tracing_backend.testing.store_contract import EVER

from tests.support.backend import ask

AT = time.time_ns() // 1_000 - 60_000_000
BACK = {"localEndpoint": {"serviceName": "back"}}


def document(own: int = 1, trace: int = 1, **fields: Any) -> dict[str, Any]:
    """A span of v2 JSON without a time."""
    return {"traceId": f"{trace:016x}", "id": f"{own:016x}", "localEndpoint": {"serviceName": "front"}, **fields}


def decoded(*documents: dict[str, Any]) -> list[StoredSpan]:
    """What the spans of a request become."""
    columns, accepted = decode(json.dumps(documents).encode())
    assert accepted.message == ""
    return [to_span(row) for row in columns.finish().to_pylist()]


def begins(*documents: dict[str, Any]) -> tuple[int, bool]:
    """When the first of them begins, in microseconds after `AT`, and whether that is a guess."""
    found = decoded(*documents)[0]
    return found.start_time // 1_000 - AT, found.attributes.get(NO_TIMESTAMP) is True


def test_the_nearest_span_says_the_time() -> None:
    """The other half of the call, else the parent, else the first of the trace, wherever in the request they are."""
    first, parent = document(2, timestamp=AT), document(3, timestamp=AT + 5)
    half = document(1, timestamp=AT + 9, kind="CLIENT")
    lonely = document(1, parentId=f"{3:016x}", kind="SERVER", shared=True, **BACK)
    assert begins(lonely, first, parent, half) == (9, True)
    assert begins(lonely, first, parent) == (5, True)
    assert begins(lonely, first) == (0, True)
    assert begins(document(timestamp=AT + 1), first) == (1, False)
    for none in (0, "0", None, 0.5):
        assert begins(document(timestamp=none), first) == (0, True)


def test_its_annotations_go_before_its_neighbours() -> None:
    """A span that was never finished says so in one, with a time."""
    flushed = document(annotations=[{"timestamp": AT + 7, "value": "x"}, {"timestamp": AT + 4, "value": "brave.flush"}])
    assert begins(flushed, document(2, timestamp=AT)) == (4, True)


def test_alone_it_has_the_time_of_arrival() -> None:
    """Another trace's spans say nothing; a duration of its own stays."""
    before = time.time_ns()
    found = decoded(document(duration=5), document(2, trace=2, timestamp=AT))[0]
    assert before <= found.start_time <= time.time_ns()
    assert (found.duration, found.attributes) == (5_000, {NO_TIMESTAMP: True})


def test_it_is_shown_as_it_was_sent(backend: Backend) -> None:
    """Zipkin's API answers without the guess; a retry counts once; no call is counted for it twice."""
    spans = [
        document(kind="CLIENT", timestamp=AT, duration=9, parentId=f"{7:016x}"),
        document(kind="SERVER", timestamp=AT + 2, duration=5, shared=True, parentId=f"{7:016x}", **BACK),
        document(name="get", parentId=f"{7:016x}", **BACK),
        document(7, kind="SERVER", timestamp=AT, duration=20),
        document(2, trace=2, kind="SERVER", shared=True),
    ]
    for _ in range(2):
        answer = ask(backend.settings.zipkin_port, "/api/v2/spans", json.dumps(spans[:4]).encode())
        assert (answer.status, answer.body) == (202, b"")
    assert ask(backend.settings.zipkin_port, "/api/v2/spans", json.dumps(spans[4:]).encode()).status == 202
    by_text = {"key": lambda span: json.dumps(span, sort_keys=True)}
    for trace in (1, 2):
        answer = ask(backend.settings.zipkin_port, f"/api/v2/trace/{trace:016x}")
        sent = [span for span in spans if span["traceId"] == f"{trace:016x}"]
        assert sorted(answer.json, **by_text) == sorted(sent, **by_text)
    store = backend.tenants.get().store
    assert len(store.trace("1")) == 4
    assert store.dependencies(*EVER) == [Edge("front", "back", 1, 1.0, 0)]


def test_a_retry_of_one_that_is_alone_counts_once(backend: Backend) -> None:
    """Also of several in one request, and of the halves of one call, which are two."""
    spans = [document(kind="CLIENT"), document(kind="SERVER", shared=True, **BACK), document(2, trace=2)]
    for _ in range(3):
        assert ask(backend.settings.zipkin_port, "/api/v2/spans", json.dumps(spans).encode()).status == 202
    store = backend.tenants.get().store
    assert [len(store.trace(trace)) for trace in ("1", "2")] == [2, 1]
    assert sum(rate.spans for rate in store.rates(*EVER)) == 3
    assert store.dependencies(*EVER) == [Edge("front", "back", 1, 1.0, 0)]


def test_a_kind_of_its_own_is_not_shared() -> None:
    """Only what says no kind is put under the span of its id; what was said is given back."""
    client = document(kind="CLIENT", **BACK)
    _, found = decoded(document(kind="SERVER", timestamp=AT), client)
    assert span_document(found) == client
