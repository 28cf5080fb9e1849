"""The drill: a backend that is killed under load again and again loses nothing that it acknowledged.

`make drill` kills it twenty times; the short form here is a part of the test suite.
"""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from kai_tracing_backend.sampling.tail import keeps
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from tests.support import jaeger
from tests.support.backend import scraped
from tests.support.serving import Serving

KILLS = int(os.environ.get("KAI_TRACING_DRILL_KILLS", "2"))
PER_TRACE = 20
TAIL = "root_wait: 0.2\nmax_wait: 2\npolicies: [error, probability=0.5]\n"
EVER = (0, 1 << 62)

pytestmark = pytest.mark.timeout(180 + 60 * KILLS)


def failed(trace: int) -> bool:
    """Every third trace fails, all of its spans do."""
    return trace % 3 == 0


def otlp(trace: int) -> list[bytes]:
    """A trace of two services, in a request of each."""
    bodies = []
    now = time.time_ns()
    for service, numbers in (("front", range(1, PER_TRACE)), ("back", [PER_TRACE])):
        request = ExportTraceServiceRequest()
        of_resource = request.resource_spans.add()
        of_resource.resource.attributes.add(key="service.name").value.string_value = service
        spans = of_resource.scope_spans.add().spans
        for number in numbers:
            one = spans.add(
                trace_id=trace.to_bytes(16, "big"),
                span_id=number.to_bytes(8, "big"),
                parent_span_id=b"" if number == 1 else (1).to_bytes(8, "big"),
                name=f"op{number}",
                start_time_unix_nano=now,
                end_time_unix_nano=now + 1_000,
            )
            one.status.code = 2 if failed(trace) else 0
        bodies.append(request.SerializeToString())
    return bodies


def zipkin(trace: int) -> list[bytes]:
    """The same in Zipkin's JSON."""
    now = time.time_ns() // 1_000
    bodies = []
    for service, numbers in (("front", range(1, PER_TRACE)), ("back", [PER_TRACE])):
        spans = []
        for number in numbers:
            one: dict[str, Any] = {"traceId": f"{trace:032x}", "id": f"{number:016x}", "name": f"op{number}"}
            one |= {"timestamp": now, "duration": 1, "localEndpoint": {"serviceName": service}}
            one |= {"tags": {"error": "x"}} if failed(trace) else {}
            spans.append(one | ({} if number == 1 else {"parentId": f"{1:016x}"}))
        bodies.append(json.dumps(spans).encode())
    return bodies


def thrift(trace: int) -> list[bytes]:
    """The same in Jaeger's thrift; the time is the test's, so that a repetition is the same."""
    bodies = []
    for service, numbers in (("front", range(1, PER_TRACE)), ("back", [PER_TRACE])):
        spans = [
            jaeger.span(
                number,
                trace,
                operationName=f"op{number}",
                parentSpanId=0 if number == 1 else 1,
                tags=jaeger.tags({"error": True}) if failed(trace) else None,
            )
            for number in numbers
        ]
        bodies.append(jaeger.body_of(jaeger.batch(*spans, service=service)))
    return bodies


def http(url: str, kind: str) -> Callable[[bytes], None]:
    """What posts to this address."""

    def send(body: bytes) -> None:
        request = urllib.request.Request(url, body, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status in (200, 202)

    return send


def over_grpc(port: int) -> Callable[[bytes], None]:
    """What calls OTLP's service."""

    def send(body: bytes) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            TraceServiceStub(channel).Export(ExportTraceServiceRequest.FromString(body), timeout=20)

    return send


class Sender(threading.Thread):
    """Sends traces until it is stopped. As an exporter does, it repeats what was not acknowledged."""

    def __init__(self, first: int, bodies: Callable[[int], list[bytes]], send: Callable[[bytes], None]) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[int] = []
        self.progress = threading.Semaphore(0)
        self.stopped = threading.Event()
        self._trace, self._bodies, self._send = first, bodies, send

    def run(self) -> None:
        """Send whole traces, so that none is there in part at the end."""
        while not self.stopped.is_set():
            for body in self._bodies(self._trace):
                while True:
                    try:
                        self._send(body)
                        break
                    except (OSError, grpc.RpcError):
                        time.sleep(0.02)
            self.acknowledged.append(self._trace)
            self.progress.release()
            self._trace += 1

    def wait(self, traces: int) -> None:
        """Until so many more were acknowledged."""
        for _ in range(traces):
            assert self.progress.acquire(timeout=120)


@pytest.mark.parametrize("tail", [False, True], ids=["all", "tail sampling"])
def test_nothing_acknowledged_is_lost_by_kill(tmp_path: Path, tail: bool) -> None:
    """Killed under load, over several receivers: every acknowledged trace is there whole, once, in rates and edges.

    Unacknowledged requests are sent again, as exporters do, so that some are stored already: they count once. With tail
    sampling exactly those traces are there that are to be kept, and what is kept of a half stands for two.
    """
    (tmp_path / "tail.yaml").write_text(TAIL)
    settings = {"tail_sampling": tmp_path / "tail.yaml"} if tail else {}
    server = Serving(tmp_path, "otlp_http", "otlp_grpc", "zipkin", "jaeger_http", **settings)
    at = {name: f"http://127.0.0.1:{port}" for name, port in server.ports.items()}
    protobuf = "application/x-protobuf"
    senders = [
        Sender(1_000_001, otlp, http(f"{at['otlp_http']}/v1/traces", protobuf)),
        Sender(2_000_001, otlp, http(f"{at['otlp_http']}/v1/traces", protobuf)),
        Sender(3_000_001, otlp, over_grpc(server.ports["otlp_grpc"])),
        Sender(4_000_001, zipkin, http(f"{at['zipkin']}/api/v2/spans", "application/json")),
        Sender(5_000_001, thrift, http(f"{at['jaeger_http']}/api/traces", jaeger.THRIFT)),
    ]
    for sender in senders:
        sender.start()
    try:
        for kill in range(KILLS):
            for sender in senders:
                sender.wait(3)
            time.sleep(0.05 * (kill % 5))  # not always at the same moment after an acknowledgement
            server.kill()
            server.start()
        for sender in senders:
            sender.wait(3)
    finally:
        for sender in senders:
            sender.stopped.set()
    for sender in senders:
        sender.join(60)
        assert not sender.is_alive()
    deadline = time.monotonic() + 60
    while tail and scraped(server.ports["api"])["tail_held_bytes", (("tenant", "default"),)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert server.stop() == 0, server.log.read_text()

    sent = [trace for sender in senders for trace in sender.acknowledged]
    assert len(sent) >= (KILLS + 1) * len(senders) * 3
    kept = {trace: 1.0 if failed(trace) or not tail else 2.0 for trace in sent}
    kept = {trace: weight for trace, weight in kept.items() if weight == 1.0 or keeps(trace, 0.5)}
    store = DuckDBStore(tmp_path / "data")
    try:
        stored = {trace: store.trace(f"{trace:x}") for trace in sent}
        assert {trace: len(spans) for trace, spans in stored.items() if spans} == dict.fromkeys(kept, PER_TRACE)
        for trace, weight in kept.items():
            assert {one.adjusted_count for one in stored[trace]} == {weight}
        rates = store.rates(*EVER)
        assert sum(rate.spans for rate in rates) == PER_TRACE * len(kept)
        assert sum(rate.weight for rate in rates) == PER_TRACE * sum(kept.values())
        (edge,) = store.dependencies(*EVER)
        assert (edge.parent, edge.child, edge.calls, edge.weight) == ("front", "back", len(kept), sum(kept.values()))
    finally:
        store.close()
