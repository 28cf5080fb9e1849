"""What Zipkin gets to see of a span, and how the provider is set up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from kai_tracing_zipkin import Encoding, ZipkinEncoder, ZipkinProvider, ZipkinSettings
from py_zipkin.transport import BaseTransportHandler

from kai_tracing_core import ConfigurationError, SpanKind, SpanStatusCode, TraceContext, TracingService
from kai_tracing_core.attributes import SpanLimits
from kai_tracing_core.processing.batch import BatchOptions
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.retry import RetryPolicy
from kai_tracing_core.span import Span
from kai_tracing_core.trace_context import DEBUG, SAMPLED, Shared
from tests.support.decoding import decode_zipkin_json, decode_zipkin_protobuf
from tests.support.server import FaultServer

RESOURCE = {"service.name": "shop", "service.version": "1.2", "host.name": "not sent"}
START = 1_700_000_000_123_456_789


class Collected(BaseTransportHandler):
    """A py-zipkin transport handler that keeps what it is given."""

    def __init__(self, limit: int | None = None, failures: int = 0) -> None:
        self.payloads: list[bytes] = []
        self.limit = limit
        self.failures = failures

    def get_max_payload_bytes(self) -> int | None:
        return self.limit

    def send(self, payload: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("not now")
        self.payloads.append(payload)


@pytest.fixture
def provider() -> Iterator[ZipkinProvider]:
    """A provider that sends nothing anywhere."""
    config = PipelineConfig(resource=RESOURCE, limits=SpanLimits(events=3))
    provider = ZipkinProvider(config=config, transport_handler=Collected())
    yield provider
    provider.shutdown(1)


def as_json(*spans: Span, **options: Any) -> dict[str, Any]:
    """The last span as the JSON encoding has it."""
    return decode_zipkin_json(ZipkinEncoder(Encoding.JSON, **options).encode(spans))[-1].raw


def as_protobuf(*spans: Span, **options: Any) -> Any:
    """The last span as the protobuf encoding has it."""
    return decode_zipkin_protobuf(ZipkinEncoder(Encoding.PROTOBUF, **options).encode(spans))[-1].raw


def test_a_whole_span(provider: ZipkinProvider) -> None:
    """Every field of the model is where Zipkin's API wants it, to the microsecond."""
    parent = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", SAMPLED, "a=1", is_remote=True)
    span = provider.span("GET /cart", kind=SpanKind.CLIENT, parent=parent, start_time=START)
    span.set_attributes({"peer.service": "cart", "network.peer.address": "10.1.2.3", "network.peer.port": 8080})
    span.add_event("retry", timestamp=START + 1_000)
    span.add_event("retry", {"attempt": 2, "ok": True}, timestamp=START + 2_000)
    span.end(START + 5_999)
    assert as_json(span, ip="192.0.2.1", port=80) == {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "id": span.span_id,
        "parentId": "b7ad6b7169203331",
        "name": "GET /cart",
        "kind": "CLIENT",
        "timestamp": START // 1000,
        "duration": 5,
        "localEndpoint": {"serviceName": "shop", "ipv4": "192.0.2.1", "port": 80},
        "remoteEndpoint": {"serviceName": "cart", "ipv4": "10.1.2.3", "port": 8080},
        "annotations": [
            {"timestamp": START // 1000 + 1, "value": "retry"},
            {"timestamp": START // 1000 + 2, "value": '"retry": {"attempt": 2, "ok": true}'},
        ],
        "tags": {
            "service.version": "1.2",
            "peer.service": "cart",
            "network.peer.address": "10.1.2.3",
            "network.peer.port": "8080",
            "w3c.tracestate": "a=1",
        },
    }


def test_both_encodings_say_the_same(provider: ZipkinProvider) -> None:
    """Protobuf carries what JSON does, in its own types."""
    span = provider.span("work", kind=SpanKind.PRODUCER, attributes={"peer.service": "queue"}, start_time=START)
    span.add_event("sent", timestamp=START)
    span.set_status(SpanStatusCode.ERROR, "full")
    span._shared = Shared(DEBUG, sink=span._sink)
    span.end(START + 2_000_000_000)
    json, message = as_json(span), as_protobuf(span)
    assert message.trace_id.hex() == json["traceId"]
    assert message.id.hex() == json["id"]
    assert message.name == json["name"]
    assert message.timestamp == json["timestamp"] == START // 1000
    assert message.duration == json["duration"] == 2_000_000
    assert message.Kind.Name(message.kind) == json["kind"] == "PRODUCER"
    assert dict(message.tags) == json["tags"]
    assert message.local_endpoint.service_name == json["localEndpoint"]["serviceName"] == "shop"
    assert message.remote_endpoint.service_name == json["remoteEndpoint"]["serviceName"] == "queue"
    assert [(a.timestamp, a.value) for a in message.annotations] == [(START // 1000, "sent")]
    assert json["annotations"] == [{"timestamp": START // 1000, "value": "sent"}]
    assert message.debug
    assert json["debug"] is True


def test_microseconds_are_exact(provider: ZipkinProvider) -> None:
    """py-zipkin computes in floating-point seconds; no timestamp or duration is off by one for that."""
    for offset in range(0, 2_000_000, 7_919):
        start = START + offset * 1000
        span = provider.span("x", start_time=start)
        span.end(start + (offset + 1) * 1000)
        json, message = as_json(span), as_protobuf(span)
        assert json["timestamp"] == message.timestamp == start // 1000
        assert json["duration"] == message.duration == offset + 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (2.5, "2.5"),
        ("ü", "ü"),
        ([1, 2], "[1, 2]"),
        (["ü", "b"], '["ü", "b"]'),
        ((True, False), "[true, false]"),
        (2**70, str(2**70)),
    ],
)
def test_tags_are_strings(provider: ZipkinProvider, value: Any, text: str) -> None:
    """Booleans are lowercase, lists are JSON, and both encodings take them."""
    span = provider.span("x", attributes={"key": value})
    span.end()
    assert as_json(span)["tags"]["key"] == text
    assert as_protobuf(span).tags["key"] == text


@pytest.mark.parametrize(
    ("code", "message", "tags"),
    [
        (SpanStatusCode.UNSET, None, {}),
        (SpanStatusCode.OK, None, {"otel.status_code": "OK"}),
        (SpanStatusCode.ERROR, None, {"otel.status_code": "ERROR", "error": ""}),
        (SpanStatusCode.ERROR, "broken", {"otel.status_code": "ERROR", "error": "broken"}),
    ],
)
def test_status(provider: ZipkinProvider, code: SpanStatusCode, message: str | None, tags: dict[str, str]) -> None:
    """An `error` tag, even an empty one, only for an error; an attribute `error` that says no is left out."""
    span = provider.span("x", attributes={"error": False})
    span.set_status(code, message)
    span.end()
    assert {key: value for key, value in as_json(span)["tags"].items() if key != "service.version"} == tags


def test_what_was_dropped_is_told(provider: ZipkinProvider) -> None:
    """The counts of what the limits dropped are tags, without those that are zero."""
    span = provider.span("x")
    for _ in range(5):
        span.add_event("event")
    span.set_attribute("bad", None)  # what is tested
    span.end()
    tags = as_json(span)["tags"]
    assert tags["otel.dropped_attributes_count"] == "1"
    assert tags["otel.dropped_events_count"] == "2"
    assert "otel.dropped_links_count" not in tags


def test_ids_of_64_bits(provider: ZipkinProvider) -> None:
    """A trace that a 64-bit tracer began keeps its short id; a root has no parent; INTERNAL is no kind."""
    span = provider.span("x", parent=TraceContext(0xABC, 0, SAMPLED))
    span._trace_id = 0xABC
    span.end()
    json = as_json(span)
    assert json["traceId"] == "0000000000000abc"
    assert as_protobuf(span).trace_id.hex() == "0000000000000abc"
    assert "parentId" not in json
    assert "kind" not in json


def test_the_shortest_span_lasts_a_microsecond(provider: ZipkinProvider) -> None:
    """Zipkin has no duration of 0."""
    span = provider.span("x", start_time=START)
    span.end(START)
    assert as_json(span)["duration"] == 1
    assert as_protobuf(span).duration == 1


@pytest.mark.parametrize(
    ("attributes", "endpoint"),
    [
        ({}, None),
        ({"peer.service": "a", "server.address": "b"}, {"serviceName": "a"}),
        ({"server.address": "b", "server.port": 80}, {"serviceName": "b", "port": 80}),
        ({"server.address": "10.0.0.1", "server.port": 80}, {"ipv4": "10.0.0.1", "port": 80}),
        ({"server.address": "10.0.0.1", "db.system": "postgresql"}, {"serviceName": "postgresql", "ipv4": "10.0.0.1"}),
        ({"network.peer.address": "2001:db8::1", "network.peer.port": 1}, {"ipv6": "2001:db8::1", "port": 1}),
        ({"net.peer.name": "old", "net.peer.port": 5}, {"serviceName": "old", "port": 5}),
        ({"db.namespace": "orders", "db.system.name": "mysql"}, {"serviceName": "orders"}),
        ({"db.system": "redis"}, {"serviceName": "redis"}),
        ({"messaging.system": "kafka"}, {"serviceName": "kafka"}),
        ({"peer.service": "a", "server.port": "no number"}, {"serviceName": "a"}),
        ({"server.address": "b", "server.port": 70_000}, {"serviceName": "b"}),
    ],
)
def test_remote_endpoint(provider: ZipkinProvider, attributes: dict[str, Any], endpoint: dict[str, Any] | None) -> None:
    """Who is called comes from the attributes in the specification's ranking; an address is not taken for a name."""
    span = provider.span("x", kind=SpanKind.CLIENT, attributes=attributes)
    span.end()
    assert as_json(span).get("remoteEndpoint") == endpoint


@pytest.mark.parametrize("kind", [SpanKind.INTERNAL, SpanKind.SERVER])
def test_no_remote_endpoint_for_those_who_do_not_call(provider: ZipkinProvider, kind: SpanKind) -> None:
    """A server's own address is not somebody it calls."""
    span = provider.span("x", kind=kind, attributes={"server.address": "me"})
    span.end()
    assert "remoteEndpoint" not in as_json(span)


def test_joining_the_callers_span() -> None:
    """With `shared`, a server span has the caller's id, and its children name that as their parent."""
    with FaultServer() as server:
        settings = ZipkinSettings(endpoint=f"{server.url}/api/v2/spans", shared=True)
        service = TracingService(ZipkinProvider(settings))
        caller = TraceContext(1 << 100, 7, SAMPLED, is_remote=True)
        with service.span("serve", kind=SpanKind.SERVER, parent=caller) as span, service.span("work"):
            headers: dict[str, str] = {}
            service.inject_context(span.trace_context, headers)
        with service.span("consume", kind=SpanKind.CONSUMER, parent=caller):
            pass
        assert service.shutdown(10)
        spans = {received.name: received.raw for received in server.spans}
    assert "0000000000000007" in headers["traceparent"]
    assert (spans["serve"]["id"], spans["serve"]["shared"]) == ("0000000000000007", True)
    assert "parentId" not in spans["serve"]
    assert spans["work"]["parentId"] == "0000000000000007"
    assert "shared" not in spans["work"]
    assert spans["consume"]["id"] != spans["consume"]["parentId"] == "0000000000000007"
    assert "shared" not in spans["consume"]


@pytest.mark.parametrize("encoding", list(Encoding))
def test_over_http(encoding: Encoding) -> None:
    """Spans arrive compressed, with the headers that were set, and the counts say so."""
    with FaultServer([202]) as server:
        settings = ZipkinSettings(
            endpoint=f"{server.url}/api/v2/spans", encoding=encoding, gzip=True, headers={"X-Tenant": "blue"}
        )
        service = TracingService(ZipkinProvider(settings, config=PipelineConfig(resource=RESOURCE)))
        with service.span("outer") as outer, service.span("inner") as inner:
            pass
        assert service.flush(10)
        assert service.stats().exported == 2
        service.shutdown(5)
        (request,) = server.requests
    assert request.headers["x-tenant"] == "blue"
    assert request.headers["content-encoding"] == "gzip"
    assert [(span.name, span.span_id, span.parent_id, span.service) for span in request.spans] == [
        ("inner", inner.span_id, outer.span_id, "shop"),
        ("outer", outer.span_id, None, "shop"),
    ]


def test_through_a_transport_handler_of_py_zipkin() -> None:
    """A handler that somebody has already, say for Kafka, works: retried when it raises, split at its limit."""
    handler = Collected(limit=4_000, failures=1)
    batch = BatchOptions(delay=3600, retry=RetryPolicy(initial=0.01))
    provider = ZipkinProvider(config=PipelineConfig(resource=RESOURCE, batch=batch), transport_handler=handler)
    for _ in range(50):
        provider.span("x").end()
    assert provider.flush(10)
    assert sum(len(decode_zipkin_json(payload)) for payload in handler.payloads) == 50
    assert all(len(payload) <= 4_000 for payload in handler.payloads)
    assert provider.stats().exported == 50
    provider.shutdown(5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "localhost:9411"},
        {"encoding": "thrift"},
        {"timeout": 0},
        {"local_ip": "localhost"},
        {"local_port": 70_000},
        {"endpiont": "http://x"},
    ],
)
def test_wrong_settings_are_loud(wrong: dict[str, Any]) -> None:
    """What cannot work is an error when tracing starts, not a lost span later."""
    with pytest.raises(ConfigurationError):
        ZipkinSettings(**wrong)


def test_otel_variables_are_honoured() -> None:
    """`OTEL_EXPORTER_ZIPKIN_TIMEOUT` is in milliseconds."""
    assert ZipkinSettings.from_otel("timeout", "OTEL_EXPORTER_ZIPKIN_TIMEOUT", "2500") == 2.5
    assert ZipkinSettings.otel_names["endpoint"] == ("OTEL_EXPORTER_ZIPKIN_ENDPOINT",)


def test_chosen_by_the_environment() -> None:
    """`TRACING_TYPE=zipkin` and an endpoint are all that a program needs."""
    program = "from kai_tracing_core import tracing\nwith tracing.span('from the environment'): pass"
    with FaultServer() as server:
        environment = {
            **os.environ,
            "TRACING_TYPE": "zipkin",
            "TRACING_SERVICE_NAME": "shop",
            "TRACING_ZIPKIN__ENDPOINT": f"{server.url}/api/v2/spans",
            "TRACING_ZIPKIN__ENCODING": "protobuf",
            "TRACING_ZIPKIN__HEADERS": "X-Tenant=blue",
            "OTEL_EXPORTER_ZIPKIN_TIMEOUT": "20000",
        }
        subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)
        (request,) = server.requests
    assert request.headers["x-tenant"] == "blue"
    assert request.headers["content-type"] == "application/x-protobuf"
    assert [(span.name, span.service) for span in request.spans] == [("from the environment", "shop")]


@pytest.mark.parametrize("server", ["http://zipkin:9411", "http://zipkin:9411/"])
def test_the_path_may_be_left_out(server: str) -> None:
    """The address of a server alone, which takes no spans, gets the path that does; any other path is left."""
    assert ZipkinSettings(endpoint=server).endpoint == "http://zipkin:9411/api/v2/spans"
    assert ZipkinSettings(endpoint="https://proxy/zipkin/").endpoint == "https://proxy/zipkin/"
