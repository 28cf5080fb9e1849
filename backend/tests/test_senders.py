"""Real clients of other projects and our own providers send to a running backend, through every receiver."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import grpc
import pytest
from kai_tracing_backend.app import Backend
from kai_tracing_backend.model import Scope, SpanEvent, SpanLink, StoredSpan
from py_zipkin.encoding._types import Encoding
from py_zipkin.transport import BaseTransportHandler
from py_zipkin.zipkin import zipkin_client_span, zipkin_span

from kai_tracing_core import SpanKind, SpanStatusCode
from kai_tracing_core.initializer import initialize_tracing
from tests.support.backend import JSON, PROTOBUF, ask


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_an_opentelemetry_sdk_and_its_exporter(backend: Backend, protocol: str) -> None:
    """The SDK's own OTLP exporters deliver every field of every span."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter: SpanExporter
    if protocol == "http":
        endpoint = f"http://127.0.0.1:{backend.settings.otlp_http_port}/v1/traces"
        exporter = HttpExporter(endpoint, compression=Compression.Gzip)
    else:
        endpoint = f"http://127.0.0.1:{backend.settings.otlp_grpc_port}"
        exporter = GrpcExporter(endpoint, insecure=True, compression=grpc.Compression.Gzip)
    resource = Resource({"service.name": "sdk", "share": 0.5, "list": ["a", "b"]}, "https://schema.example/1")
    provider, made = TracerProvider(resource=resource), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(made))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("lib", "1.2", "https://schema.example/2", {"n": 1})
    state = trace.TraceState([("a", "b")])
    remote = trace.SpanContext(1 << 127 | 5, 6, True, trace.TraceFlags(1), state)
    parent = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    links = [trace.Link(remote, {"why": "batch"}), trace.Link(trace.SpanContext(7, 8, False))]
    with tracer.start_as_current_span("root", parent, trace.SpanKind.SERVER, links=links) as root:
        root.set_attributes({"text": "ä", "yes": True, "int": -(1 << 63), "double": 0.5, "list": [1, 2], "none": []})
        with tracer.start_as_current_span("child", kind=trace.SpanKind.CLIENT) as child:
            child.add_event("done", {"ok": True}, 1_700_000_000_000_000_001)
            child.set_status(trace.StatusCode.ERROR, "why")
        root.set_status(trace.StatusCode.OK)
    provider.shutdown()
    stored = backend.tenants.get().store.trace(f"{remote.trace_id:032x}")
    assert sorted(stored, key=by_name) == [of_sdk(one) for one in made.get_finished_spans()]


def by_name(span: StoredSpan) -> str:
    """What spans are sorted by."""
    return span.name


def of_sdk(span: Any) -> StoredSpan:
    """A span of OpenTelemetry's SDK as it should be stored."""

    def flags(context: Any) -> int:
        return 0x100 | (0x200 if context is not None and context.is_remote else 0)

    def plain(attributes: Any) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in attributes.items()}

    scope = span.instrumentation_scope
    return StoredSpan(
        trace_id=f"{span.context.trace_id:032x}",
        span_id=f"{span.context.span_id:016x}",
        parent_id=f"{span.parent.span_id:016x}",
        name=span.name,
        service="sdk",
        start_time=span.start_time,
        duration=span.end_time - span.start_time,
        kind=span.kind.value + 1,
        status=span.status.status_code.value,
        status_message=span.status.description or "",
        trace_state=span.context.trace_state.to_header(),
        flags=flags(span.parent),
        attributes=plain(span.attributes),
        events=[SpanEvent(event.timestamp, event.name, plain(event.attributes)) for event in span.events],
        links=[
            SpanLink(
                f"{link.context.trace_id:032x}",
                f"{link.context.span_id:016x}",
                "",  # the SDK does not send a link's trace state
                plain(link.attributes),
                flags(link.context),
            )
            for link in span.links
        ],
        resource=plain(span.resource.attributes),
        resource_schema_url=span.resource.schema_url,
        scope=Scope(scope.name, scope.version, plain(scope.attributes), scope.schema_url),
    )


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
    """An application with kai-tracing, by every protocol: every field, as far as the format has a place for it."""
    kind, options = OWN[way]
    filled = {name: value.format(**backend.settings.model_dump()) for name, value in options.items()}
    tracing = initialize_tracing(type=kind, service_name="app", **{kind: filled})
    try:
        with tracing.span("root", kind=SpanKind.CLIENT) as root:
            attributes = {"n": 1, "text": "ä", "yes": True, "share": 0.5, "list": [1, 2]}
            with tracing.span("child", kind=SpanKind.SERVER, attributes=attributes, links=[root]) as child:
                child.add_event("done", {"ok": True})
                child.add_event("bare")
                child.set_status(SpanStatusCode.ERROR, "why")
        tracing.flush(10)
    finally:
        tracing.shutdown()
    stored = sorted(found(backend, root.trace_id, 2), key=by_name)
    assert stored == [OWN_SPANS[kind](span) for span in (child, root)]


def of_otlp(span: Any) -> StoredSpan:
    """A span of ours as it should be stored where it came by OTLP, which says all of it."""
    flags = span.trace_flags | 0x100
    return StoredSpan(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_id,
        name=span.name,
        service="app",
        start_time=span.start_time,
        duration=span.end_time - span.start_time,
        kind={SpanKind.SERVER: 2, SpanKind.CLIENT: 3}[span.kind],
        status=int(span.status),
        status_message=span.status_message or "",
        flags=flags,
        attributes=span.attributes,
        events=[SpanEvent(event.timestamp, event.name, event.attributes) for event in span.events],
        links=[SpanLink(span.trace_id, span.parent_id, flags=flags) for _ in span.links],
        resource=dict(span.resource),
        scope=Scope("kai_tracing_core", version("kai-tracing-core")),
    )


def in_microseconds(span: StoredSpan) -> StoredSpan:
    """What Zipkin's and Jaeger's formats leave of times; they have no scope, either."""
    return replace(
        span,
        start_time=span.start_time // 1_000 * 1_000,
        duration=span.duration // 1_000 * 1_000,
        events=[replace(event, time=event.time // 1_000 * 1_000) for event in span.events],
        scope=Scope(),
    )


def of_jaeger(span: Any) -> StoredSpan:
    """The same by Jaeger's thrift: lists are text, and a link says what it refers to."""
    links = [
        SpanLink(span.trace_id, span.parent_id, attributes={"opentracing.ref_type": "follows_from"}) for _ in span.links
    ]
    stored = replace(in_microseconds(of_otlp(span)), flags=1, links=links)
    return replace(stored, attributes={**stored.attributes, **({"list": "[1, 2]"} if span.attributes else {})})


def of_zipkin(span: Any) -> StoredSpan:
    """The same by Zipkin: everything is text, the status is tags, links and the resource have no place."""
    stored = in_microseconds(of_otlp(span))
    told = {"n": "1", "text": "ä", "yes": "true", "share": "0.5", "list": "[1, 2]"}
    return replace(
        stored,
        flags=0,
        links=[],
        resource={"service.name": "app"},
        attributes={**told, "error": "why", "otel.status_code": "ERROR"} if span.attributes else {},
        events=[
            SpanEvent(event.time, '"done": {"ok": true}' if event.attributes else event.name) for event in stored.events
        ],
    )


OWN_SPANS = {"opentelemetry": of_otlp, "jaeger": of_jaeger, "zipkin": of_zipkin}


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
