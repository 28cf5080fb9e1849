"""Jaeger's thrift, over HTTP and UDP: real requests and packets to real ports, and the decoder behind them."""

from __future__ import annotations

import gzip
import logging
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from jaeger_client.thrift_gen.jaeger import ttypes
from kai_tracing_backend.app import Backend
from kai_tracing_backend.collector import jaeger_udp, thrift
from kai_tracing_backend.collector.jaeger import decode
from kai_tracing_backend.columns import to_span
from kai_tracing_backend.model import Scope, SpanEvent, SpanLink, StoredSpan
from kai_tracing_backend.storage.contract import StoreFullError
from kai_tracing_backend.testing.store_contract import EVER
from thrift.protocol.TBinaryProtocol import TBinaryProtocol

from tests.support.backend import ask, running
from tests.support.jaeger import NOW, THRIFT, batch, body_of, packet_of, span, tag, tags

AGENTS = {"jaeger_compact": True, "jaeger_binary": False}


def decoded(made: Any) -> StoredSpan:
    """The only span of a batch."""
    columns, accepted = decode(body_of(made))
    assert accepted.message == ""
    (row,) = columns.finish().to_pylist()
    return to_span(row)


def post(backend: Backend, body: bytes, kind: str = THRIFT, **headers: str) -> Any:
    """A request to the collector's port."""
    return ask(backend.settings.jaeger_http_port, "/api/traces?format=jaeger.thrift", body, kind, **headers)


def send(backend: Backend, agent: str, *packets: bytes) -> None:
    """Packets to an agent's port."""
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        for packet in packets:
            sender.sendto(packet, ("127.0.0.1", getattr(backend.settings, f"{agent}_port")))


def until(what: Any) -> Any:
    """What the function gives as soon as it is true; packets are not answered."""
    deadline = time.monotonic() + 60
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found
    return found


def stored(backend: Backend) -> int:
    """How many spans there are."""
    return sum(rate.spans for rate in backend.tenants.get().store.rates(*EVER))


def dropped(backend: Backend, agent: str, reason: str) -> float:
    """How many packets an agent did not take, and why."""
    labels = {"receiver": agent, "reason": reason}
    return backend.metrics.registry.get_sample_value("kai_tracing_backend_udp_dropped_packets_total", labels) or 0


RICH = batch(
    span(
        -2,
        5,
        traceIdHigh=-1,
        parentSpanId=9,
        flags=3,
        references=[ttypes.SpanRef(0, 5, -1, 9), ttypes.SpanRef(1, 6, 0, 7)],
        tags=tags(
            {
                "text": "ä",
                "yes": True,
                "int": -(1 << 63),
                "double": 0.5,
                "span.kind": "client",
                "error": True,
                "otel.status_description": "why",
                "otel.scope.name": "lib",
                "otel.scope.version": "1",
                "w3c.tracestate": "a=b",
            }
        ),
        logs=[ttypes.Log(NOW + 1, tags({"event": "done", "n": 1})), ttypes.Log(NOW, [])],
    ),
    host="h",
    pid=7,
)
FOUND = StoredSpan(
    trace_id="f" * 16 + f"{5:016x}",
    span_id="f" * 15 + "e",
    parent_id=f"{9:016x}",
    name="op",
    service="shop",
    start_time=NOW * 1_000,
    duration=7_000,
    kind=3,
    status=2,
    status_message="why",
    trace_state="a=b",
    flags=1,
    attributes={"text": "ä", "yes": True, "int": -(1 << 63), "double": 0.5, "jaeger.debug": True},
    events=[SpanEvent((NOW + 1) * 1_000, "done", {"n": 1}), SpanEvent(NOW * 1_000, "")],
    links=[SpanLink(f"{6:032x}", f"{7:016x}", attributes={"opentracing.ref_type": "follows_from"})],
    resource={"service.name": "shop", "host": "h", "pid": 7},
    scope=Scope("lib", "1"),
)


def test_every_field_has_its_place() -> None:
    """Ids, parent, kind, status, scope, trace state, tags by their types, logs, references, the process."""
    assert decoded(RICH) == FOUND


def test_it_is_the_same_without_the_library_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where thrift was built without a compiler."""
    monkeypatch.setattr(thrift, "TBinaryProtocolAccelerated", TBinaryProtocol)
    assert decoded(RICH) == FOUND


@pytest.mark.parametrize(
    ("references", "parent", "links"),
    [
        ([], None, []),
        ([(0, 1, 8)], 8, []),
        ([(1, 1, 8)], 8, [8]),
        ([(1, 1, 8), (0, 1, 9)], 9, [8]),
        ([(0, 2, 8)], None, [8]),
    ],
)
def test_a_parent_may_be_a_reference_only(references: list[Any], parent: int | None, links: list[int]) -> None:
    """A child's, before one that it follows; of the same trace. What is not told otherwise is a link."""
    found = decoded(batch(span(references=[ttypes.SpanRef(kind, trace, 0, own) for kind, trace, own in references])))
    assert found.parent_id == (parent and f"{parent:016x}")
    assert [int(link.span_id, 16) for link in found.links] == links


@pytest.mark.parametrize(
    ("given", "status", "left"),
    [
        ({"error": "true"}, 2, {}),
        ({"error": False, "otel.status_code": "OK"}, 1, {"error": False}),
        ({"otel.status_code": "ERROR", "error": "boom"}, 2, {"error": "boom"}),
        ({"span.kind": 5, "event": "x"}, 0, {"span.kind": 5, "event": "x"}),
    ],
)
def test_tags_that_say_something_of_the_span(given: dict[str, Any], status: int, left: dict[str, Any]) -> None:
    """What is a status is one; what only looks so stays a tag."""
    found = decoded(batch(span(tags=tags(given))))
    assert (found.status, found.attributes) == (status, left)


BAD = {
    "trace_id must not be all zero": span(trace=0),
    "span_id must not be all zero": span(own=0),
    "start_time is before the year 2000": span(startTime=5),
    "start_time is more than a day in the future": span(startTime=10_100_000_000_000_000),
    "end_time is before start_time": span(duration=-1),
    "longer than a year": span(duration=1 << 60),
    "the attribute 'big' is longer": span(tags=[tag("big", "x" * 10_000_000)]),
    "10000 attributes are more than": span(tags=tags({f"k{number}": number for number in range(10_000)})),
    "2000 links": span(references=[ttypes.SpanRef(1, 1, 1, 1)] * 2_000),
    "20000 events": span(logs=[ttypes.Log(NOW, [])] * 20_000),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_span_is_left_out_and_the_rest_taken(reason: str) -> None:
    """Whatever is wrong with it; the reason says what."""
    columns, accepted = decode(body_of(batch(BAD[reason], span(2))))
    assert accepted.rejected == 1
    assert reason in accepted.message
    assert columns.finish()["span_id"].to_pylist() == [2]


HEAD = b"\x0c\x00\x01\x0b\x00\x01\x00\x00\x00\x01a\x00\x0f\x00\x02"  # a process, and the name of the list of spans


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "cut off"),
        (b"GET / HTTP/1.1\r\n\r\n", "thrift"),
        (b"\0", "Batch without 'process' and 'spans'"),
        (body_of(RICH)[:-9], "cut off"),
        (b"\x0c\x00\x63" * 1_000_000, "recursion"),
        (b"\x0f\x00\x63" + b"\x0f\x00\x00\x00\x01" * 1_000_000, "recursion"),
        (HEAD + b"\x0c\x7f\xff\xff\xff", "limit"),
        (HEAD + b"\x0c\xff\xff\xff\xff", "length"),
        (HEAD + b"\x0c\x00\x0f\x42\x40", "cut off"),
        (HEAD + b"\x0c\x00\x0f\x42\x40" + bytes(2_000_000), "Span without 'trace_low'"),
        (HEAD + b"\x0b\x00\x00\x00\x01\x00\x00\x00\x01a", "type"),
        (b"\x0c\x00\x01\x0b\x00\x01\x7f\xff\xff\xff", "limit"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("in_c", [True, False])
def test_a_body_that_is_none_is_refused(body: bytes, said: str, in_c: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off, nested too deeply, with lengths that are lies, or of one-byte spans: soon, and without the memory."""
    if not in_c:
        monkeypatch.setattr(thrift, "TBinaryProtocolAccelerated", TBinaryProtocol)
    with pytest.raises(ValueError, match=r"not thrift as it should be") as caught:
        decode(body)
    assert not in_c or said in str(caught.value)


def test_a_collector_takes_batches(backend: Backend) -> None:
    """202, plain and gzip, once; with a bad span its reason; 400 where there is nothing else; 415 for other content."""
    body = body_of(RICH)
    for answer in (post(backend, body), post(backend, gzip.compress(body), Content_Encoding="gzip")):
        assert (answer.status, answer.body) == (202, b"")
    assert post(backend, body, "application/vnd.apache.thrift.binary").status == 202
    assert backend.tenants.get().store.trace(FOUND.trace_id) == [FOUND]
    assert stored(backend) == 1
    answer = post(backend, body_of(batch(span(0), span(3))))
    assert (answer.status, answer.body) == (202, b"span_id must not be all zero")
    assert post(backend, body_of(batch(span(0)))).status == 400
    assert post(backend, b"garbage").status == 400
    assert post(backend, body, "application/json").status == 415
    assert stored(backend) == 2


@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_takes_packets(backend: Backend, agent: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every good one, once. What is none is counted, said, and harms nothing."""
    compact = AGENTS[agent]
    good = [packet_of(batch(span(number, number)), compact=compact) for number in range(1, 51)]
    bad = [
        b"",
        b"\xff",
        good[0][:-5],
        packet_of(RICH, compact=compact, method="x"),
        packet_of(RICH, compact=not compact),
    ]
    with caplog.at_level(logging.WARNING):
        for packet in bad:
            send(backend, agent, packet, *good[:10])
        send(backend, agent, *good[10:], packet_of(RICH, compact=compact))
        until(lambda: stored(backend) == 51)
        until(lambda: dropped(backend, agent, "malformed") == len(bad))
    assert backend.tenants.get().store.trace(FOUND.trace_id) == [FOUND]
    assert "packets (malformed): not thrift" in caplog.text


def test_packets_wait_while_the_store_is_full_and_are_bounded(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fits into the queue is stored as soon as it can be; the rest is counted. Nothing else stops meanwhile."""
    packets = [packet_of(batch(span(number, number)), compact=True) for number in range(1, 21)]
    monkeypatch.setattr(jaeger_udp, "_MAX_WAITING", 10 * len(packets[0]))
    store = backend.tenants.get().store

    def full(given: Any) -> int:
        raise StoreFullError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write", full)
        send(backend, "jaeger_compact", *packets)
        until(lambda: dropped(backend, "jaeger_compact", "queue full") == 10)
        assert ask(backend.settings.api_port, "/healthz").status == 200
    until(lambda: stored(backend) == 10)


def test_a_stop_while_nothing_can_be_stored_is_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets that wait for half a minute, as a full disk has them do, are tried once more, given up and counted."""
    with running(tmp_path) as backend:

        def full(given: Any) -> int:
            raise StoreFullError("no room")

        monkeypatch.setattr(backend.tenants.get().store, "write", full)
        listener = next(one for one in backend.listeners if one.name == "jaeger_compact")
        monkeypatch.setattr(listener, "_log", (logged := []).append)
        send(backend, "jaeger_compact", *(packet_of(batch(span(number)), compact=True) for number in (1, 2)))
        until(lambda: logged)
    lost = backend.metrics.udp_dropped.labels("jaeger_compact", "there is no room on the backend's disk")
    assert lost._value.get() == 2


def test_a_stop_stores_what_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets that wait behind a slow commit are stored before the backend is gone."""
    go_on, began = threading.Event(), threading.Event()
    with running(tmp_path) as backend:
        write = backend.tenants.get().store.write

        def slow(given: Any) -> int:
            began.set()
            assert go_on.wait(60)
            return write(given)

        monkeypatch.setattr(backend.tenants.get().store, "write", slow)
        send(backend, "jaeger_binary", packet_of(batch(span(1)), compact=False))
        assert began.wait(60)
        send(backend, "jaeger_binary", packet_of(batch(span(2)), compact=False))
        listener = next(one for one in backend.listeners if one.name == "jaeger_binary")
        until(lambda: listener._waiting)
        threading.Timer(0.2, go_on.set).start()
    with running(tmp_path) as again:
        assert stored(again) == 2
