"""What Jaeger gets to see of a span, over each of the three ways."""

from __future__ import annotations

import os
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from jaeger_client.thrift_gen.jaeger import ttypes
from kai_tracing_jaeger import JaegerProvider, JaegerSettings, Protocol
from kai_tracing_jaeger.encoding import JaegerEncoder
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol

from kai_tracing_core import ConfigurationError, SpanKind, SpanStatusCode, TraceContext, TracingService
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.processor import TooLarge
from kai_tracing_core.span import Span
from kai_tracing_core.trace_context import DEBUG, SAMPLED, Shared
from tests.support.decoding import decode_jaeger_batch, decode_jaeger_datagram
from tests.support.server import FaultServer, UdpSink

RESOURCE = {"service.name": "shop", "service.version": "1.2", "replicas": 3, "zones": ["a", "b"]}
START = 1_700_000_000_123_456_789
FIELDS = {
    ttypes.TagType.STRING: "vStr",
    ttypes.TagType.BOOL: "vBool",
    ttypes.TagType.LONG: "vLong",
    ttypes.TagType.DOUBLE: "vDouble",
}


@pytest.fixture
def provider() -> Iterator[JaegerProvider]:
    """A provider whose agent is nowhere."""
    settings = JaegerSettings(protocol=Protocol.AGENT, agent_host="127.0.0.1", agent_port=9)
    provider = JaegerProvider(settings, config=PipelineConfig(resource=RESOURCE))
    yield provider
    provider.shutdown(1)


def encoded(span: Span) -> Any:
    """The thrift span, which is the same in both protocols."""
    (binary,) = decode_jaeger_batch(JaegerEncoder().encode([span]))
    (datagram,) = JaegerEncoder(compact=True).packets([span], 65_000)
    (compact,) = decode_jaeger_datagram(datagram)
    assert binary == compact
    return binary.raw


def values(tags: list[Any]) -> dict[str, Any]:
    """Tags as a dictionary; each has the one value that its type says."""
    for tag in tags:
        set_fields = [field for field in (*FIELDS.values(), "vBinary") if getattr(tag, field) is not None]
        assert set_fields == [FIELDS[tag.vType]]
    return {tag.key: getattr(tag, FIELDS[tag.vType]) for tag in tags}


def test_a_whole_span(provider: JaegerProvider) -> None:
    """Every field is where Jaeger's model wants it."""
    parent = TraceContext("f" * 31 + "e", "b7ad6b7169203331", SAMPLED, "a=1", is_remote=True)
    span = provider.span("GET /cart", kind=SpanKind.CLIENT, parent=parent, start_time=START)
    span.set_attributes({"text": "ü", "yes": True, "count": -3, "ratio": 0.5, "list": [1, 2], "huge": 2**80})
    span.add_event("retry", {"attempt": 2}, timestamp=START + 1_000)
    span.add_event("log", {"event": "its own name"}, timestamp=START + 2_000)
    span.add_link(TraceContext(5 << 64 | 6, 2**64 - 7))
    span.set_status(SpanStatusCode.ERROR, "broken")
    span.end(START + 5_999)
    thrift = encoded(span)
    assert (thrift.traceIdHigh, thrift.traceIdLow) == (-1, -2)
    assert thrift.spanId & (2**64 - 1) == span._span_id
    assert thrift.parentSpanId & (2**64 - 1) == 0xB7AD6B7169203331
    assert thrift.operationName == "GET /cart"
    assert (thrift.startTime, thrift.duration) == (START // 1000, 5)
    assert thrift.flags == 1
    assert values(thrift.tags) == {
        "text": "ü",
        "yes": True,
        "count": -3,
        "ratio": 0.5,
        "list": "[1, 2]",
        "huge": str(2**80),
        "otel.status_code": "ERROR",
        "otel.status_description": "broken",
        "error": True,
        "w3c.tracestate": "a=1",
        "span.kind": "client",
    }
    assert [(log.timestamp, values(log.fields)) for log in thrift.logs] == [
        (START // 1000 + 1, {"event": "retry", "attempt": 2}),
        (START // 1000 + 2, {"event": "its own name"}),
    ]
    (reference,) = thrift.references
    assert reference.refType == ttypes.SpanRefType.FOLLOWS_FROM
    assert (reference.traceIdHigh, reference.traceIdLow, reference.spanId) == (5, 6, -7)
    assert thrift.process.serviceName == "shop"
    assert values(thrift.process.tags) == {"service.version": "1.2", "replicas": 3, "zones": '["a", "b"]'}


def test_a_bare_span(provider: JaegerProvider) -> None:
    """What a span does not have is not sent: no parent, references, logs, kind or error."""
    span = provider.span("x")
    span.set_status(SpanStatusCode.OK)
    span._shared = Shared(span._flags | DEBUG, sink=span._sink)
    span.end()
    thrift = encoded(span)
    assert thrift.parentSpanId == 0
    assert thrift.references is None
    assert thrift.logs is None
    assert values(thrift.tags) == {"otel.status_code": "OK"}
    assert thrift.flags == 3


def test_without_thrifts_c_extension(provider: JaegerProvider) -> None:
    """The slow way gives the same bytes."""
    span = provider.span("x", kind=SpanKind.SERVER, attributes={"a": 1, "b": "ü", "c": True, "d": 1.5})
    span.add_event("e", {"f": 1})
    span.add_link(TraceContext(1, 2))
    span.end()
    for compact, slow in ((False, TBinaryProtocol), (True, TCompactProtocol)):
        fast_encoder, slow_encoder = JaegerEncoder(compact=compact), JaegerEncoder(compact=compact)
        slow_encoder._protocol = slow
        assert slow_encoder.encode([span] * 20) == fast_encoder.encode([span] * 20)


@pytest.mark.parametrize("limit", [1_000, 8_000, 65_000])
def test_packets_are_split(provider: JaegerProvider, limit: int) -> None:
    """No packet is larger than allowed, none could have taken the next one's first span, and nothing is lost."""
    spans = []
    for number in range(500):
        span = provider.span(f"span {number}", attributes={"padding": "x" * (number % 50)})
        span.end()
        spans.append(span)
    encoder = JaegerEncoder(compact=True)
    packets = list(encoder.packets(spans, limit))
    assert max(map(len, packets)) <= limit
    assert min(map(len, packets[:-1]), default=limit) > limit - 400
    received = [span.span_id for packet in packets for span in decode_jaeger_datagram(packet)]
    assert received == [span.span_id for span in spans]


def test_a_span_larger_than_a_packet(provider: JaegerProvider) -> None:
    """It is refused before anything is sent, so that the core can send the others without it."""
    span = provider.span("x", attributes={"padding": "x" * 2_000})
    span.end()
    with pytest.raises(TooLarge):
        next(JaegerEncoder(compact=True).packets([span], 1_000))


def test_to_an_agent() -> None:
    """Spans arrive over UDP in packets of the configured size; one that is too large is counted, its batch arrives."""
    with UdpSink() as agent:
        settings = JaegerSettings(
            protocol=Protocol.AGENT, agent_host="127.0.0.1", agent_port=agent.port, max_packet_size=2_000
        )
        provider = JaegerProvider(settings, config=PipelineConfig(resource=RESOURCE))
        ids = set()
        for number in range(100):
            with provider.span(f"span {number}", attributes={"padding": "x" * (5_000 if number == 37 else 10)}) as span:
                ids.add(span.span_id)
        assert provider.flush(10)
        assert provider.stats().exported == 99
        assert provider.stats().dropped == {"too_large": 1}
        assert agent.wait_for(99)
        received = [span.span_id for span in agent.spans]
        assert len(received) == len(set(received)) == 99
        assert set(received) < ids
        assert max(map(len, agent.datagrams)) <= 2_000
        provider.shutdown(5)


def test_an_agent_whose_name_is_unknown() -> None:
    """A host that does not resolve is tried again, then its spans are counted."""
    settings = JaegerSettings(protocol=Protocol.AGENT, agent_host="agent.invalid")
    provider = JaegerProvider(settings)
    provider.span("x").end()
    assert not provider.flush(0.1) or provider.stats().dropped
    provider.shutdown(0.5)
    stats = provider.stats()
    assert stats.exported == 0
    assert stats.ended == stats.queued + sum(stats.dropped.values()) == 1


@pytest.mark.parametrize(
    ("protocol", "path", "content_type"),
    [
        (Protocol.COLLECTOR, "/api/traces", "application/x-thrift"),
        (Protocol.OTLP, "/v1/traces", "application/x-protobuf"),
    ],
)
def test_over_http(protocol: Protocol, path: str, content_type: str) -> None:
    """Spans arrive with their parents and service, and with the credentials that were set."""
    with FaultServer() as server:
        settings = JaegerSettings(protocol=protocol, endpoint=server.url + path, user="me", password="secret")
        service = TracingService(JaegerProvider(settings, config=PipelineConfig(resource=RESOURCE)))
        with service.span("outer") as outer, service.span("inner") as inner:
            pass
        assert service.flush(10)
        service.shutdown(5)
        (request,) = server.requests
    assert request.headers["content-type"] == content_type
    scheme, _, credentials = request.headers["authorization"].partition(" ")
    assert (scheme, b64decode(credentials)) == ("Basic", b"me:secret")
    assert "secret" not in repr(settings)
    assert [(span.name, span.trace_id, span.span_id, span.parent_id, span.service) for span in request.spans] == [
        ("inner", outer.trace_id, inner.span_id, outer.span_id, "shop"),
        ("outer", outer.trace_id, outer.span_id, None, "shop"),
    ]


def test_uber_trace_id_is_spoken_by_default(provider: JaegerProvider) -> None:
    """Beside W3C's headers, which go first."""
    span = provider.span("x")
    carrier: dict[str, str] = {}
    provider.inject_context(span.trace_context, carrier)
    assert carrier["uber-trace-id"] == f"{span.trace_id}:{span.span_id}:0:01"
    assert carrier["traceparent"].split("-")[1] == span.trace_id
    found = provider.extract_context({"uber-trace-id": "abc:def:0:1"})
    assert found is not None
    assert (found.trace_id, found.span_id, found.is_sampled) == (f"{0xABC:032x}", f"{0xDEF:016x}", True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"protocol": "grpc"},
        {"endpoint": "localhost:4318"},
        {"max_packet_size": 70_000},
        {"agent_port": 0},
        {"timeout": -1},
        {"agenthost": "x"},
    ],
)
def test_wrong_settings_are_loud(wrong: dict[str, Any]) -> None:
    """What cannot work is an error when tracing starts, not a lost span later."""
    with pytest.raises(ConfigurationError):
        JaegerSettings(**wrong)


def test_defaults() -> None:
    """OTLP, on the port where Jaeger listens; the collector's own for thrift."""
    assert JaegerSettings().url == "http://localhost:4318/v1/traces"
    assert JaegerSettings(protocol=Protocol.COLLECTOR).url == "http://localhost:14268/api/traces"
    assert JaegerSettings.from_otel("timeout", "OTEL_EXPORTER_JAEGER_TIMEOUT", "1500") == 1.5
    assert JaegerSettings.from_otel("agent_port", "OTEL_EXPORTER_JAEGER_AGENT_PORT", "1") == "1"


def test_chosen_by_the_environment() -> None:
    """`TRACING_TYPE=jaeger` and OpenTelemetry's own variables are all that a program needs."""
    program = "from kai_tracing_core import tracing\nwith tracing.span('from the environment'): pass"
    with UdpSink() as agent:
        environment = {
            **os.environ,
            "TRACING_TYPE": "jaeger",
            "TRACING_JAEGER__PROTOCOL": "agent",
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_EXPORTER_JAEGER_AGENT_HOST": "127.0.0.1",
            "OTEL_EXPORTER_JAEGER_AGENT_PORT": str(agent.port),
        }
        subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)
        assert agent.wait_for(1)
        assert [(span.name, span.service) for span in agent.spans] == [("from the environment", "shop")]


def test_otlp_does_without_jaeger_client() -> None:
    """The default way does not import jaeger-client and its event loop."""
    program = (
        "import sys; from kai_tracing_jaeger import JaegerProvider; JaegerProvider()\n"
        "assert not {'jaeger_client', 'tornado', 'thrift'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_path_may_be_left_out() -> None:
    """The address of a server alone, which takes no spans, gets the path of its protocol; any other path is left."""
    assert JaegerSettings(endpoint="http://jaeger:4318").url == "http://jaeger:4318/v1/traces"
    collector = JaegerSettings(endpoint="http://jaeger:14268/", protocol=Protocol.COLLECTOR)
    assert collector.url == "http://jaeger:14268/api/traces"
    assert JaegerSettings(endpoint="http://proxy/jaeger").url == "http://proxy/jaeger"
