"""What the demo's receiver takes, and when it calls a trace whole."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO

import pytest
import urllib3
from rich.console import Console

from kai_tracing_core.demo.receiver import ReceivedSpan, SpanReceiver
from kai_tracing_core.demo.trees import missing, tree

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALL = {"url.full": "http://127.0.0.1/x"}
SPANS = [
    ReceivedSpan(TRACE, "1", None, "buy", "shopper", None, 0, 9_000, {}),
    ReceivedSpan(TRACE, "2", "1", "POST", "shopper", "CLIENT", 1_000, 7_000, CALL),
    ReceivedSpan(TRACE, "3", "2", "POST /buy", "gateway", "SERVER", 2_000, 5_000, {"error": "no bank"}),
]
SERVICES = {"shopper", "gateway"}


@pytest.fixture
def receiver() -> Iterator[SpanReceiver]:
    """A receiver that runs."""
    with SpanReceiver() as running:
        yield running


def post(receiver: SpanReceiver, body: bytes, **headers: str) -> int:
    """Send a body as a provider would; gives the status."""
    with urllib3.PoolManager(retries=False) as pool:
        return pool.request("POST", receiver.endpoint, body=body, headers=headers).status


def test_a_whole_trace_misses_nothing() -> None:
    """All services, one root, every parent and both ends of every call."""
    assert missing(SPANS, SERVICES) == []


@pytest.mark.parametrize(
    ("lost", "complaint"),
    [(0, "0 roots"), (1, "no parent of POST /buy (gateway)"), (2, "no far end of POST (shopper)")],
)
def test_every_missing_span_is_noticed(lost: int, complaint: str) -> None:
    """Whichever span is missing, the trace is not whole."""
    assert complaint in missing([span for index, span in enumerate(SPANS) if index != lost], SERVICES)


def test_two_roots_are_not_one_trace() -> None:
    """A context that was not passed on shows as a second root."""
    assert "2 roots" in missing([SPANS[0], SPANS[1], replace(SPANS[2], parent_id=None)], SERVICES)


@pytest.mark.parametrize("room", [160, 60, 30])
def test_a_tree_shows_names_services_times_and_errors(room: int) -> None:
    """A line a span, children behind their parents, however narrow the terminal is."""
    console = Console(width=room, record=True, file=StringIO(), force_terminal=True)
    console.print(tree(SPANS, room))
    lines = console.export_text().splitlines()
    assert len(lines) == 1 + len(SPANS)
    assert lines[3].startswith("        └── POST /buy")
    if room == 160:
        assert "gateway" in lines[3]
        assert "5.0 ms" in lines[3]
        assert lines[3].rstrip().endswith("no bank")


def test_spans_are_taken_compressed_and_plain(receiver: SpanReceiver) -> None:
    """Zipkin's JSON comes either way, and a waiting reader wakes up when the trace is whole."""
    sent = {"traceId": TRACE, "id": "00f067aa0ba902b7", "name": "get", "timestamp": 5, "duration": 2}
    assert post(receiver, json.dumps([sent]).encode()) == 202
    assert (
        post(receiver, gzip.compress(json.dumps([{**sent, "id": "1"}]).encode()), **{"Content-Encoding": "gzip"}) == 202
    )
    spans = receiver.wait(TRACE, lambda spans: len(spans) == 2, timeout=10)
    assert {span.span_id for span in spans} == {"00f067aa0ba902b7", "1"}


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"7", b'[{"id": "1"}]', b'[{"traceId": 5, "id": "1"}]'])
def test_what_is_no_span_is_refused(receiver: SpanReceiver, body: bytes) -> None:
    """Malformed requests get 400, and the receiver goes on."""
    assert post(receiver, body) == 400
    assert post(receiver, b"[]") == 202


def test_an_unknown_trace_is_waited_for_in_vain(receiver: SpanReceiver) -> None:
    """The wait ends when its time is over."""
    assert receiver.wait("ff", bool, timeout=0.01) == []
