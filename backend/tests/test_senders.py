"""Real clients of other projects and our own providers send to a running backend, through every receiver."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from kai_tracing_backend.app import Backend
from kai_tracing_backend.model import StoredSpan
from py_zipkin.encoding._types import Encoding
from py_zipkin.transport import BaseTransportHandler
from py_zipkin.zipkin import zipkin_client_span, zipkin_span

from kai_tracing_core import SpanKind, SpanStatusCode
from kai_tracing_core.initializer import initialize_tracing
from tests.support.backend import JSON, PROTOBUF, ask


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


OWN = {
    "OTLP over HTTP, protobuf": ("opentelemetry", {"endpoint": "http://127.0.0.1:{otlp_http_port}"}),
    "OTLP over HTTP, gzip": (
        "opentelemetry",
        {"endpoint": "http://127.0.0.1:{otlp_http_port}", "compression": "gzip"},
    ),
    "OTLP over HTTP, JSON": (
        "opentelemetry",
        {"endpoint": "http://127.0.0.1:{otlp_http_port}", "protocol": "http/json"},
    ),
    "OTLP over gRPC": ("opentelemetry", {"endpoint": "http://127.0.0.1:{otlp_grpc_port}", "protocol": "grpc"}),
    "Zipkin JSON": ("zipkin", {"endpoint": "http://127.0.0.1:{zipkin_port}/api/v2/spans"}),
    "Zipkin protobuf": (
        "zipkin",
        {"endpoint": "http://127.0.0.1:{zipkin_port}/api/v2/spans", "encoding": "protobuf"},
    ),
    "Jaeger collector": (
        "jaeger",
        {"protocol": "collector", "endpoint": "http://127.0.0.1:{jaeger_http_port}/api/traces"},
    ),
    "Jaeger agent": ("jaeger", {"protocol": "agent", "agent_host": "127.0.0.1", "agent_port": "{jaeger_compact_port}"}),
}


def found(backend: Backend, trace_id: str, count: int) -> list[StoredSpan]:
    """The spans of a trace as soon as there are so many; UDP has no answers."""
    store, deadline = backend.tenants.get().store, time.monotonic() + 60
    while len(spans := store.trace(trace_id)) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return spans


@pytest.mark.parametrize("way", OWN)
def test_our_own_providers(backend: Backend, way: str) -> None:
    """An application with kai-tracing, by every protocol: ids, parent, kind, times, error, values by their types."""
    kind, options = OWN[way]
    filled = {name: value.format(**backend.settings.model_dump()) for name, value in options.items()}
    tracing = initialize_tracing(type=kind, service_name="app", **{kind: filled})
    try:
        with tracing.span("root", kind=SpanKind.CLIENT) as root:
            with tracing.span("child", attributes={"n": 1, "text": "ä", "yes": True, "share": 0.5}) as child:
                child.set_status(SpanStatusCode.ERROR, "why")
            child.end()
        tracing.flush(10)
    finally:
        tracing.shutdown()
    first, second = found(backend, root.trace_id, 2)
    unit = 1 if kind == "opentelemetry" else 1_000
    assert (first.name, first.service, first.kind, first.parent_id) == ("root", "app", 3, None)
    assert (second.name, second.span_id, second.parent_id) == ("child", child.span_id, root.span_id)
    assert second.start_time == child.start_time // unit * unit
    assert (second.status, second.status_message) == (2, "why")
    sent = {"n": 1, "text": "ä", "yes": True, "share": 0.5}
    expected = {"n": "1", "text": "ä", "yes": "true", "share": "0.5"} if kind == "zipkin" else sent
    assert {key: second.attributes[key] for key in sent} == expected


@pytest.mark.parametrize("encoding", [Encoding.V2_JSON, Encoding.V2_PROTO3])
def test_py_zipkin(backend: Backend, encoding: Encoding) -> None:
    """A traced function, in both encodings that py-zipkin has."""
    answers: list[int] = []

    class Transport(BaseTransportHandler):  # type: ignore[misc]  # py-zipkin has no types
        def get_max_payload_bytes(self) -> None:
            return None

        def send(self, payload: bytes | str) -> None:
            body = payload.encode() if isinstance(payload, str) else payload
            kind = JSON if encoding == Encoding.V2_JSON else PROTOBUF
            answers.append(ask(backend.settings.zipkin_port, "/api/v2/spans", body, kind).status)

    options = {"transport_handler": Transport(), "encoding": encoding, "sample_rate": 100.0, "port": 80}
    with zipkin_span("front", "root", use_128bit_trace_id=True, **options) as root:
        with zipkin_client_span("front", "call", binary_annotations={"n": "1"}) as child:
            child.add_annotation("sent")
        ids = root.zipkin_attrs
    assert answers == [202]
    spans = {span.name: span for span in found(backend, ids.trace_id, 2)}
    assert (spans["root"].span_id, spans["call"].parent_id) == (ids.span_id, ids.span_id)
    assert (spans["call"].kind, spans["call"].attributes["n"]) == (3, "1")
    assert [event.name for event in spans["call"].events] == ["sent"]


JAEGER_CLIENT = """
import json, sys, time
from jaeger_client import Config

agent = {"reporting_host": "127.0.0.1", "reporting_port": int(sys.argv[1])}
config = {"sampler": {"type": "const", "param": 1}, "local_agent": agent, "logging": False}
tracer = Config(config, service_name="old").new_tracer()
with tracer.start_span("root", tags={"span.kind": "server"}) as root:
    with tracer.start_span("child", child_of=root, tags={"n": 1, "yes": True, "error": True}) as child:
        child.log_kv({"event": "done", "n": 2})
closed = tracer.close()
while not closed.done():
    time.sleep(0.01)
print(json.dumps([root.trace_id, root.span_id, child.span_id, int(child.start_time * 1_000_000)]))
"""


def test_jaeger_client(backend: Backend) -> None:
    """Its tracer and its UDP reporter: ids, parent, kind, tags by their types, logs, the error, the process.

    In a process of its own, since it leaves sockets and threads behind.
    """
    command = [sys.executable, "-c", JAEGER_CLIENT, str(backend.settings.jaeger_compact_port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    trace_id, root, child, start = json.loads(done.stdout)
    first, second = found(backend, f"{trace_id:032x}", 2)
    assert (first.name, first.service, first.kind) == ("root", "old", 2)
    assert (second.span_id, second.parent_id) == (f"{child:016x}", f"{root:016x}")
    assert second.start_time == start * 1_000
    assert (second.status, second.attributes) == (2, {"n": 1, "yes": True})
    assert [(event.name, event.attributes) for event in second.events] == [("done", {"n": 2})]
    assert "hostname" in second.resource
