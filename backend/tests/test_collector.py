"""What comes in over HTTP: real requests to a real process's ports."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from kai_tracing_backend.app import Backend, PortError
from kai_tracing_backend.collector.otlp import decode_json, decode_protobuf
from kai_tracing_backend.collector.zipkin import decode as decode_zipkin
from kai_tracing_backend.model import Edge
from kai_tracing_backend.settings import BackendSettings
from kai_tracing_backend.storage.contract import SpanStore, StoreError, StoreFullError
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.storage.queue import QueueFullError, WriteQueue
from kai_tracing_backend.testing.store_contract import EVER, batch, span
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from kai_tracing_core.initializer import initialize_tracing
from tests.support.backend import JSON, Answer, ask, running, settings_in

DATA = Path(__file__).parents[2] / "../shared/data"
PROTOBUF = "application/x-protobuf"
NOW = time.time_ns()


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    """A running backend, empty."""
    with running(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A running backend for tests that do not look into it."""
    with running(tmp_path_factory.mktemp("shared")) as made:
        yield made


def post(backend: Backend, body: bytes, kind: str = PROTOBUF, **headers: str) -> Answer:
    """A request to the OTLP receiver."""
    return ask(backend.settings.otlp_http_port, "/v1/traces", body, kind, **headers)


def message(*changes: Callable[[Any], None], count: int | None = None) -> ExportTraceServiceRequest:
    """A request with one good span for each change, changed; or with so many."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    entry = of_resource.resource.attributes.add(key="service.name")
    entry.value.string_value = "shop"
    spans = of_resource.scope_spans.add().spans
    for index in range(count or len(changes)):
        one = spans.add(
            trace_id=(index + 1).to_bytes(16, "big"),
            span_id=(index + 1).to_bytes(8, "big"),
            name="op",
            start_time_unix_nano=NOW,
            end_time_unix_nano=NOW + 5,
        )
        if index < len(changes):
            changes[index](one)
    return request


def as_json(request: ExportTraceServiceRequest) -> dict[str, Any]:
    """The request as JSON."""
    from kai_tracing_core.processing.otlp import encode_json

    document: dict[str, Any] = json.loads(encode_json(request))
    return document


def _nest(value: Any, depth: int) -> None:
    for _ in range(depth):
        value = value.array_value.values.add()
    value.int_value = 1


def _attributes(span: Any, count: int) -> None:
    for number in range(count):
        span.attributes.add(key=f"k{number}").value.int_value = number


def _set(**fields: Any) -> Callable[[Any], None]:
    def change(span: Any) -> None:
        for name, value in fields.items():
            setattr(span, name, value)

    return change


BAD = {
    "trace_id must have 16 bytes": _set(trace_id=b"12345678"),
    "trace_id must not be all zero": _set(trace_id=bytes(16)),
    "span_id must have 8 bytes": _set(span_id=b"123"),
    "span_id must not be all zero": _set(span_id=bytes(8)),
    "parent_span_id must have 8 bytes": _set(parent_span_id=b"123"),
    "start_time is missing": _set(start_time_unix_nano=0),
    "start_time is before the year 2000": _set(start_time_unix_nano=5_000_000_000),
    "start_time is more than a day in the future": _set(start_time_unix_nano=10_100_000_000 * 10**9),
    "end_time is before start_time": _set(end_time_unix_nano=NOW - 1),
    "end_time is missing": _set(end_time_unix_nano=0),
    "longer than a year": _set(end_time_unix_nano=(1 << 64) - 1),
    "the attribute 'big' is longer": lambda span: setattr(
        span.attributes.add(key="big").value, "string_value", "x" * 10_000_000
    ),
    "10000 attributes are more than": lambda span: _attributes(span, 10_000),
    "nested more than": lambda span: _nest(span.attributes.add(key="deep").value, 20),
    "name, status message or trace state": _set(name="x" * 2_000_000),
    "2000 links": lambda span: span.links.extend(type(span.links.add())() for _ in range(1_000)),
}


@pytest.mark.parametrize("reason", BAD)
@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
def test_a_bad_span_is_left_out_and_the_rest_taken(reason: str, kind: str) -> None:
    """Whatever is wrong with it, in both encodings; the reason says what."""
    request = message(BAD[reason], lambda span: None)
    body = json.dumps(as_json(request)).encode() if kind == JSON else request.SerializeToString()
    columns, accepted = (decode_json if kind == JSON else decode_protobuf)(body)
    assert accepted.rejected == 1
    assert reason in accepted.message
    assert columns.finish()["span_id"].to_pylist() == [2]


def test_a_partial_success_says_what_was_rejected(backend: Backend) -> None:
    """How many and why, in the request's encoding; the good spans of the request are there."""
    request = message(_set(trace_id=b"1"), _set(span_id=b"1"), lambda span: None)
    document = post(backend, json.dumps(as_json(request)).encode(), JSON).json["partialSuccess"]
    assert document["rejectedSpans"] == "2"
    answer = post(backend, request.SerializeToString())
    assert answer.headers["Content-Type"] == PROTOBUF
    partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert (partial.rejected_spans, partial.error_message) == (2, document["errorMessage"])
    assert "trace_id must have 16 bytes, not 1; span_id must have 8 bytes, not 1" in partial.error_message
    assert [found.name for found in backend.tenants.get().store.trace("3")] == ["op"]


def test_an_accepted_request_is_answered_with_an_empty_message(backend: Backend) -> None:
    """Protobuf and JSON, plain and gzip: 200, the request's content type, the spans stored once."""
    request = message(count=3)
    for body, kind in ((request.SerializeToString(), PROTOBUF), (json.dumps(as_json(request)).encode(), JSON)):
        for answer in (post(backend, body, kind), post(backend, gzip.compress(body), kind, Content_Encoding="gzip")):
            assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
            assert answer.body in (b"", b"{}")
    assert sum(rate.spans for rate in backend.tenants.get().store.rates(*EVER)) == 3


@pytest.mark.parametrize(
    ("body", "kind", "headers", "status", "said"),
    [
        (b"\xff\xff", PROTOBUF, {}, 400, "protobuf"),
        (b"{", JSON, {}, 400, "not JSON"),
        (b"[]", JSON, {}, 400, "resourceSpans"),
        (b'{"resourceSpans": 5}', JSON, {}, 400, "resourceSpans"),
        (b"[" * 100_000, JSON, {}, 400, "not JSON"),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[5]}]}]}', JSON, {}, 400, "spans"),
        (b"x", "text/plain", {}, 415, "Content-Type"),
        (b"x", PROTOBUF, {"Content_Encoding": "br"}, 415, "Content-Encoding"),
        (b"plain text", PROTOBUF, {"Content_Encoding": "gzip"}, 400, "not gzip"),
        (gzip.compress(b"x" * 1_000, mtime=0)[:-9], PROTOBUF, {"Content_Encoding": "gzip"}, 400, "cut off"),
        (gzip.compress(bytes(65 << 20), mtime=0), PROTOBUF, {"Content_Encoding": "gzip"}, 413, "more than"),
        (b"".join([gzip.compress(bytes(33 << 20), mtime=0)] * 2), JSON, {"Content_Encoding": "gzip"}, 413, "more than"),
    ],
    ids=lambda value: value.decode("latin-1")[:12] if isinstance(value, bytes) else None,
)
def test_a_request_that_cannot_be_read_is_refused(
    shared: Backend, body: bytes, kind: str, headers: dict[str, str], status: int, said: str
) -> None:
    """With a `Status` that says why, in the request's encoding; the next request is served."""
    answer = post(shared, body, kind, **headers)
    assert answer.status == status
    text = Status.FromString(answer.body).message if kind == PROTOBUF else answer.json["message"]
    assert said in text
    assert post(shared, message(count=1).SerializeToString()).status == 200


def test_text_that_is_not_utf8_is_refused(backend: Backend) -> None:
    """In protobuf, where the whole message is then none; a lone surrogate in JSON becomes U+FFFD."""
    body = message(_set(name="QQQQ")).SerializeToString().replace(b"QQQQ", b"\xff\xff\xff\xff")
    assert post(backend, body).status == 400
    document = as_json(message(count=1))
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"] = "a\ud800b"
    assert post(backend, json.dumps(document).encode(), JSON).status == 200
    assert [found.name for found in backend.tenants.get().store.trace("1")] == ["a\ufffdb"]


def test_values_keep_their_types_in_protobuf_and_json(backend: Backend) -> None:
    """Both encodings of one request give the same span."""

    def rich(one: Any) -> None:
        one.kind, one.flags, one.trace_state = 3, 0x101, "ot=th:8"
        one.status.code, one.status.message = 2, "why"
        add = one.attributes.add
        add(key="s").value.string_value = "ä"
        add(key="i").value.int_value = -(1 << 63)
        add(key="d").value.double_value = float("inf")
        add(key="b").value.bool_value = False
        add(key="y").value.bytes_value = b"\0\xff"
        add(key="n").value.SetInParent()
        add(key="e").value.array_value.SetInParent()
        _nest(add(key="l").value, 3)
        pair = add(key="m").value.kvlist_value.values.add(key="x")
        pair.value.double_value = 1.0
        add(key="http.response.status_code").value.int_value = 200
        one.events.add(time_unix_nano=NOW, name="e").attributes.add(key="k").value.bool_value = True
        one.links.add(trace_id=b"\1" * 16, span_id=b"\2" * 8, flags=1)
        one.dropped_attributes_count = 7

    request = message(rich)
    request.resource_spans[0].schema_url = "https://schema"
    request.resource_spans[0].scope_spans[0].scope.name = "lib"
    document = as_json(request)
    assert post(backend, request.SerializeToString()).status == 200
    for one in document["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        one["traceId"] = f"{9:032x}"
    document["unknown"] = 1
    # Half of the threshold is below the randomness of this id, so that it says the same.
    assert post(backend, json.dumps(document).encode(), JSON).json == {}
    (first,), (second,) = backend.tenants.get().store.trace("1"), backend.tenants.get().store.trace("9")
    assert {**vars(first), "trace_id": second.trace_id} == vars(second)
    assert first.attributes == {
        "s": "ä",
        "i": -(1 << 63),
        "d": float("inf"),
        "b": False,
        "y": b"\0\xff",
        "n": None,
        "e": [],
        "l": [[[1]]],
        "m": {"x": 1.0},
        "http.response.status_code": 200,
    }


def test_what_a_span_stands_for() -> None:
    """By the threshold in `tracestate` where the trace's randomness fits it, else by kai-tracing's attribute."""
    request = message(
        _set(trace_state="ot=th:8", trace_id=b"\xff" * 16),
        lambda one: setattr(one.attributes.add(key="sampling.adjusted_count").value, "double_value", 5.0),
        lambda one: setattr(one.attributes.add(key="sampling.adjusted_count").value, "double_value", -1.0),
    )
    columns, _ = decode_json(json.dumps(as_json(request)).encode())
    assert columns.finish()["adjusted_count"].to_pylist() == [2.0, 5.0, 1.0]


# -- Zipkin ------------------------------------------------------------------------------------------------------------


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


# -- real clients and real traces --------------------------------------------------------------------------------------


def test_an_opentelemetry_sdk_and_its_exporter(backend: Backend) -> None:
    """The SDK's own OTLP exporter delivers; parent, attributes and events arrive."""
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    endpoint = f"http://127.0.0.1:{backend.settings.otlp_http_port}/v1/traces"
    provider = TracerProvider(resource=Resource({"service.name": "sdk"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, compression=Compression.Gzip)))
    tracer = provider.get_tracer("lib", "1.2")
    with tracer.start_as_current_span("root") as root, tracer.start_as_current_span("child") as child:
        child.set_attribute("list", [1, 2])
        child.add_event("done", {"ok": True})
    provider.shutdown()
    first, second = backend.tenants.get().store.trace(f"{root.get_span_context().trace_id:032x}")
    assert (first.name, first.service, second.parent_id) == ("root", "sdk", first.span_id)
    assert second.attributes == {"list": [1, 2]}
    assert (second.events[0].name, second.events[0].attributes) == ("done", {"ok": True})
    assert (second.scope.name, second.scope.version) == ("lib", "1.2")


@pytest.mark.parametrize("kind", ["opentelemetry", "zipkin"])
def test_our_own_providers(backend: Backend, kind: str) -> None:
    """An application with kai-tracing and this provider: its trace is found, each span under its parent."""
    settings = backend.settings
    options: dict[str, Any] = {
        "opentelemetry": {"opentelemetry": {"endpoint": f"http://127.0.0.1:{settings.otlp_http_port}"}},
        "zipkin": {"zipkin": {"endpoint": f"http://127.0.0.1:{settings.zipkin_port}/api/v2/spans"}},
    }[kind]
    tracing = initialize_tracing(type=kind, service_name="app", **options)
    try:
        with tracing.span("root") as root, tracing.span("child", attributes={"n": 1}):
            pass
        tracing.flush(10)
    finally:
        tracing.shutdown()
    first, second = backend.tenants.get().store.trace(root.trace_id)
    assert (first.name, first.service, second.parent_id) == ("root", "app", first.span_id)
    assert second.attributes["n"] in (1, "1")


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
        found = store.search(_everything())
        assert {summary.trace_id: summary.spans for summary in found} == truth["spans_per_trace"]
        size, largest = truth["largest"]
        assert len(store.trace(largest)) == size

    settings = settings_in(tmp_path)

    async def run() -> None:
        backend = Backend(settings)
        running = asyncio.create_task(backend.run())
        for body in [*requests, *requests]:
            answer = await asyncio.to_thread(post, backend, body, JSON)
            assert (answer.status, answer.json) == (200, {})
        await asyncio.to_thread(check, backend.tenants.get().store)
        services = await asyncio.to_thread(ask, settings.api_port, "/api/v1/services")
        assert services.json == {"services": sorted(truth["services"])}
        backend.stop()
        await running

    asyncio.run(run())
    store = DuckDBStore(settings.data)
    check(store)
    store.close()


def _everything() -> Any:
    from kai_tracing_backend.model import Search

    return Search(*EVER, limit=10_000)


# -- the queue ---------------------------------------------------------------------------------------------------------


class SlowStore:
    """A store that waits until it may write, and remembers what it was given; it may fail."""

    def __init__(self) -> None:
        self.may_write = threading.Event()
        self.began = threading.Event()
        self.groups: list[int] = []
        self.failure: Callable[[Any], Exception | None] = lambda batch: None

    def write(self, given: Any) -> int:
        self.began.set()
        assert self.may_write.wait(30)
        if (error := self.failure(given)) is not None:
            raise error
        self.groups.append(given.num_rows)
        return int(given.num_rows)


def test_what_waits_is_written_together_and_bounded() -> None:
    """One commit for all that came during another one; more than may wait is refused; the rest is written at close."""
    store = SlowStore()
    one = batch(span())
    queue = WriteQueue(store, max_bytes=one.nbytes * 4)  # type: ignore[arg-type]
    futures = [queue.submit(one)]
    assert store.began.wait(30)
    futures += [queue.submit(one) for _ in range(3)]
    with pytest.raises(QueueFullError):
        queue.submit(one)
    store.may_write.set()
    assert [future.result(30) for future in futures] == [1, 1, 1, 1]
    assert store.groups == [1, 3]
    queue.submit(one)
    queue.close()
    assert sum(store.groups) == 5
    with pytest.raises(QueueFullError):
        queue.submit(one)


def test_one_batch_that_cannot_be_written_fails_alone() -> None:
    """The others of its group are stored; where there is no room, all are told so, and nothing is tried twice."""
    store = SlowStore()
    queue = WriteQueue(store)  # type: ignore[arg-type]
    first = queue.submit(batch(span()))
    assert store.began.wait(30)
    store.failure = lambda given: StoreError("bad") if "bad" in given["name"].to_pylist() else None
    good, bad = queue.submit(batch(span(2))), queue.submit(batch(span(3, name="bad")))
    store.may_write.set()
    assert (first.result(30), good.result(30)) == (1, 1)
    with pytest.raises(StoreError, match="bad"):
        bad.result(30)
    store.failure = lambda given: StoreFullError("no room")
    with pytest.raises(StoreFullError):
        queue.submit(batch(span(4))).result(30)
    queue.close()


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
        answer = post(backend, body)
        assert answer.status == status
        assert int(answer.headers["Retry-After"]) > 0
        assert Status.FromString(answer.body).message
        zipkin_answer = ask(backend.settings.zipkin_port, "/api/v2/spans", json.dumps([zipkin()]).encode())
        assert (zipkin_answer.status, "Retry-After" in zipkin_answer.headers) == (status, True)
    assert post(backend, body).status == 200


# -- the process -------------------------------------------------------------------------------------------------------


def test_the_api(backend: Backend) -> None:
    """Health, services, a trace by its id or the end of it; clear answers for what is not there."""
    port = backend.settings.api_port
    assert ask(port, "/healthz").json == {"status": "ok"}
    assert ask(port, "/readyz").json == {"status": "ready"}
    backend.tenants.get().store.write(batch(span(5, 1, attributes={"n": 1}), span(5, 2, 1, service="b")))
    assert ask(port, "/api/v1/services").json == {"services": ["a", "b"]}
    found = ask(port, "/api/v1/traces/5").json
    assert found["traceId"] == f"{5:032x}"
    assert [one["service"] for one in found["spans"]] == ["a", "b"]
    assert found["spans"][0]["attributes"] == [{"key": "n", "value": {"intValue": "1"}}]
    assert ask(port, "/api/v1/traces/6").status == 404
    assert ask(port, "/api/v1/traces/xyz").status == 400


def test_a_taken_port_names_its_setting(tmp_path: Path) -> None:
    """And nothing is left open: with another port it starts."""
    settings = settings_in(tmp_path)
    with (
        socket.create_server(("127.0.0.1", settings.otlp_http_port)),
        pytest.raises(PortError, match=r"TRACING_BACKEND_OTLP_HTTP_PORT \(--otlp-http-port\)"),
    ):
        asyncio.run(_make(settings))
    asyncio.run(_make(settings)).close()


async def _make(settings: BackendSettings) -> Backend:
    return Backend(settings)
