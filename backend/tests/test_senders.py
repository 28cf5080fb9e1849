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
from kai_tracing_backend.columns import SHARED
from kai_tracing_backend.model import Scope, SpanEvent, SpanLink, StoredSpan
from py_zipkin.encoding._types import Encoding, Kind
from py_zipkin.logging_helper import ZipkinBatchSender
from py_zipkin.transport import BaseTransportHandler
from py_zipkin.util import ZipkinAttrs, generate_random_64bit_string, generate_random_128bit_string
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
    filled = {name: value.format(**dict(backend.settings)) for name, value in options.items()}
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
def test_py_zipkin(backend: Backend, encoding: Encoding, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field that py-zipkin holds of its spans, in both encodings that it has."""
    answers: list[int] = []

    class Transport(BaseTransportHandler):
        def get_max_payload_bytes(self) -> None:
            return None

        def send(self, payload: bytes | str) -> None:
            body = payload.encode() if isinstance(payload, str) else payload
            kind = JSON if encoding == Encoding.V2_JSON else PROTOBUF
            answers.append(ask(backend.settings.zipkin_port, "/api/v2/spans", body, kind).status)

    sent: list[Any] = []
    send = ZipkinBatchSender.add_span
    monkeypatch.setattr(ZipkinBatchSender, "add_span", lambda sender, span: (sent.append(span), send(sender, span)))
    caller = ZipkinAttrs(generate_random_128bit_string(), generate_random_64bit_string(), "", "0", True)
    options = {"transport_handler": Transport(), "encoding": encoding, "sample_rate": 100.0}
    with zipkin_span("front", "root", zipkin_attrs=caller, host="10.0.0.1", port=80, kind=Kind.SERVER, **options):
        with zipkin_client_span("front", "call", binary_annotations={"n": "1", "text": "ä"}) as child:
            child.add_annotation("sent", 1_700_000_000.25)
            child.add_sa_binary_annotation(5432, "db", "2001:db8::1")
        with zipkin_span("front", "local", binary_annotations={"error": "why"}):
            pass
    assert answers == [202]
    stored = found(backend, caller.trace_id, 3)
    expected = [of_py_zipkin(span, in_json=encoding == Encoding.V2_JSON) for span in sent]
    assert sorted(stored, key=by_name) == sorted(expected, key=by_name)


def of_py_zipkin(span: Any, *, in_json: bool) -> StoredSpan:
    """A span of py-zipkin as it should be stored; it cuts times to microseconds, in each encoding by other floats."""

    def cut(seconds: float) -> int:
        return (int(seconds * 1_000_000) if in_json else int(seconds * 1_000 * 1_000)) * 1_000

    attributes: dict[str, Any] = dict(span.tags)
    for side, one in (("local", span.local_endpoint), ("peer", span.remote_endpoint)):
        if one is not None and (address := one.ipv4 or one.ipv6):
            attributes[f"network.{side}.address"] = address
        if one is not None and one.port:
            attributes[f"network.{side}.port"] = one.port
    if span.remote_endpoint is not None:
        attributes["peer.service"] = span.remote_endpoint.service_name
    return StoredSpan(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_id or None,
        name=span.name,
        service=span.local_endpoint.service_name,
        start_time=cut(span.timestamp),
        duration=cut(span.duration),
        kind={"SERVER": 2, "CLIENT": 3}.get(span.kind.value, 0),
        status=2 if "error" in span.tags else 0,
        status_message=span.tags.get("error", ""),
        flags=SHARED if span.shared else 0,
        attributes=attributes,
        events=[SpanEvent(cut(at), name) for name, at in span.annotations.items()],
        links=[],
        resource={"service.name": span.local_endpoint.service_name},
    )


JAEGER_CLIENT = """
import json, sys, time
from jaeger_client import Config
from opentracing import child_of, follows_from

agent = {"reporting_host": "127.0.0.1", "reporting_port": int(sys.argv[1])}
config = {
    "sampler": {"type": "const", "param": 1},
    "local_agent": agent,
    "logging": False,
    "generate_128bit_trace_id": True,
    "tags": {"version": "1.2"},
}
tracer = Config(config, service_name="old").new_tracer()
with tracer.start_span("root", tags={"span.kind": "server"}) as root:
    references = [child_of(root.context), follows_from(root.context)]
    tags = {"span.kind": "client", "n": -1, "share": 0.5, "yes": True, "text": "ä", "error": True}
    with tracer.start_span("child", references=references, tags=tags) as child:
        child.log_kv({"event": "done", "n": 2})
        child.log_kv({"message": "bare"}, timestamp=1_700_000_000.25)
closed = tracer.close()
while not closed.done():
    time.sleep(0.01)


def values(tags):
    return {tag.key: (tag.vStr, tag.vDouble, tag.vBool, tag.vLong)[tag.vType] for tag in tags}


def described(span):
    return {
        "trace_id": f"{span.trace_id:032x}",
        "span_id": f"{span.span_id:016x}",
        "parent_id": f"{span.parent_id:016x}" if span.parent_id else None,
        "name": span.operation_name,
        "start": int(span.start_time * 1_000_000),
        "duration": int((span.end_time - span.start_time) * 1_000_000),
        "flags": span.context.flags,
        "tags": values(span.tags),
        "logs": [(log.timestamp, values(log.fields)) for log in span.logs],
        "process": tracer.tags,
    }


print(json.dumps([described(child), described(root)]))
"""


def test_jaeger_client(backend: Backend) -> None:
    """Every field that jaeger-client holds of its spans, by its UDP reporter.

    In a process of its own, since it leaves sockets and threads behind.
    """
    command = [sys.executable, "-c", JAEGER_CLIENT, str(backend.settings.jaeger_compact_port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    child, root = json.loads(done.stdout)
    stored = sorted(found(backend, root["trace_id"], 2), key=by_name)
    link = SpanLink(root["trace_id"], root["span_id"], attributes={"opentracing.ref_type": "follows_from"})
    assert stored == [replace(of_jaeger_client(child), links=[link]), of_jaeger_client(root)]


def of_jaeger_client(said: dict[str, Any]) -> StoredSpan:
    """A span of jaeger-client as it should be stored: some of its tags are the kind, the status and names of events."""
    tags = dict(said["tags"])
    failed = tags.pop("error", False)
    events = [SpanEvent(at * 1_000, fields.pop("event", ""), fields) for at, fields in said["logs"]]
    return StoredSpan(
        trace_id=said["trace_id"],
        span_id=said["span_id"],
        parent_id=said["parent_id"],
        name=said["name"],
        service="old",
        start_time=said["start"] * 1_000,
        duration=said["duration"] * 1_000,
        kind={"server": 2, "client": 3}[tags.pop("span.kind")],
        status=2 if failed else 0,
        flags=said["flags"],
        attributes=tags,
        events=events,
        links=[],
        resource={"service.name": "old", **said["process"]},
    )
