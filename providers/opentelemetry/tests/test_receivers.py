"""Every field of a span arrives at real collectors, over each of the three transports."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from kai_tracing_opentelemetry import OpenTelemetryProvider, OpenTelemetrySettings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource

from kai_tracing_core import Link, SpanKind, SpanStatusCode, TraceContext, TracingService
from kai_tracing_core.attributes import SpanLimits
from kai_tracing_core.processing.batch import BatchOptions
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.retry import RetryPolicy
from providers.opentelemetry.tests.conftest import GrpcCollector, HttpCollector

RESOURCE = Resource({"service.name": "shop", "host.cpus": 4}, "https://example.org/schema/1")
# No batch before `flush`, however slow the machine is.
FAST = BatchOptions(delay=60.0, retry=RetryPolicy(initial=0.01, maximum=0.02, max_elapsed=10))


def provider_for(settings: OpenTelemetrySettings, **options: Any) -> OpenTelemetryProvider:
    """A provider that leaves `opentelemetry.trace` alone, with quick retries."""
    config = PipelineConfig(batch=FAST, limits=SpanLimits(attributes=9, events=2, links=1, event_attributes=1))
    return OpenTelemetryProvider(settings, config=config, resource=RESOURCE, set_global=False, **options)


def shop(provider: OpenTelemetryProvider) -> TraceContext:
    """A program that uses every field there is; returns the remote parent."""
    tracing = TracingService(provider)
    caller = tracing.extract_context({"traceparent": f"00-{'a' * 32}-{'b' * 16}-03", "tracestate": "vendor=1,other=2"})
    assert caller is not None
    other = TraceContext("c" * 32, "d" * 16, 1, "x=y", is_remote=True)
    with tracing.span("checkout", kind=SpanKind.SERVER, parent=caller, links=[Link(other, {"why": "batch"})]) as span:
        span.set_attributes({"text": "é", "number": 2**40, "share": 0.5, "yes": True, "no": False})
        span.set_attributes({"list": ["a", "b"], "numbers": (1, 2), "big": 2**70, "broken": "\ud800"})
        span.set_attribute("over the limit", 1)
        span.add_event("paid", {"amount": 9.5, "over the limit": 1}, timestamp=1_700_000_000_000_000_001)
        span.add_event("shipped")
        span.add_event("over the limit")
        span.add_link(other)
        span.set_status(SpanStatusCode.ERROR, "out of stock")
        with provider.tracer_provider.get_tracer("library", "2.1", "https://example.org/2", {"a": 1}).start_span(
            "child"
        ):
            pass
    assert tracing.flush(10)
    stats = tracing.stats()
    assert (stats.exported, dict(stats.dropped)) == (2, {})
    tracing.shutdown()
    return caller


def check(request: ExportTraceServiceRequest) -> None:
    """The request says all that the program did."""
    (resource,) = request.resource_spans
    assert resource.schema_url == "https://example.org/schema/1"
    assert {item.key: item.value.WhichOneof("value") for item in resource.resource.attributes} == {
        "service.name": "string_value",
        "host.cpus": "int_value",
    }
    library, own = resource.scope_spans
    assert (library.scope.name, library.scope.version, library.schema_url) == (
        "library",
        "2.1",
        "https://example.org/2",
    )
    assert [(item.key, item.value.int_value) for item in library.scope.attributes] == [("a", 1)]
    assert own.scope.name == "kai_tracing_core"
    (child,), (span,) = library.spans, own.spans

    assert (span.name, span.kind) == ("checkout", 2)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == ("a" * 32, "b" * 16)
    assert span.span_id == child.parent_span_id != b""
    assert child.trace_id == span.trace_id
    assert span.trace_state == child.trace_state == "vendor=1,other=2"
    assert span.flags == 0x303  # sampled, random; whether the parent is remote is known, and it is
    assert child.flags == 0x103
    assert 0 < span.start_time_unix_nano <= child.start_time_unix_nano <= child.end_time_unix_nano
    assert child.end_time_unix_nano <= span.end_time_unix_nano
    assert (span.status.code, span.status.message) == (2, "out of stock")
    assert not child.HasField("status")

    values = {item.key: item.value for item in span.attributes}
    assert (values["text"].string_value, values["number"].int_value) == ("é", 2**40)
    assert (values["share"].double_value, values["yes"].bool_value) == (0.5, True)
    assert values["no"].WhichOneof("value") == "bool_value"
    assert [item.string_value for item in values["list"].array_value.values] == ["a", "b"]
    assert [item.int_value for item in values["numbers"].array_value.values] == [1, 2]
    assert values["big"].string_value == str(2**70)
    assert values["broken"].string_value == "?"
    assert (len(values), span.dropped_attributes_count) == (9, 1)

    paid, shipped = span.events
    assert (paid.name, paid.time_unix_nano) == ("paid", 1_700_000_000_000_000_001)
    assert [(item.key, item.value.double_value) for item in paid.attributes] == [("amount", 9.5)]
    assert (paid.dropped_attributes_count, shipped.name, span.dropped_events_count) == (1, "shipped", 1)
    (link,) = span.links
    assert (link.trace_id.hex(), link.span_id.hex(), link.trace_state) == ("c" * 32, "d" * 16, "x=y")
    assert (link.flags, link.attributes[0].value.string_value) == (0x301, "batch")
    assert span.dropped_links_count == 1


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_http(collector: HttpCollector, protocol: str, compression: str) -> None:
    """OTLP/HTTP, in both encodings, compressed and not, at the path that is appended, with the headers given."""
    settings = OpenTelemetrySettings(
        endpoint=collector.url, protocol=protocol, compression=compression, headers="X-Key=a%20b,tenant=7"
    )
    shop(provider_for(settings))
    requests = collector.decoded()
    assert len(requests) == 1
    check(requests[0])
    path, headers, _ = collector.requests[0]
    assert (path, headers["x-key"], headers["tenant"]) == ("/v1/traces", "a b", "7")
    assert headers.get("content-encoding") == (None if compression == "none" else "gzip")


def test_json_is_otlp_json(collector: HttpCollector) -> None:
    """Ids in hexadecimal, enumerations as integers, 64-bit integers as strings, names in lowerCamelCase."""
    settings = OpenTelemetrySettings(endpoint=collector.url, protocol="http/json")
    shop(provider_for(settings))
    span = json.loads(collector.requests[0][2])["resourceSpans"][0]["scopeSpans"][1]["spans"][0]
    assert (span["traceId"], span["parentSpanId"], span["kind"]) == ("a" * 32, "b" * 16, 2)
    assert span["startTimeUnixNano"].isdigit()
    assert span["links"][0]["spanId"] == "d" * 16
    assert {"key": "number", "value": {"intValue": str(2**40)}} in span["attributes"]


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_grpc(grpc_collector: GrpcCollector, compression: str) -> None:
    """OTLP/gRPC, with the headers as metadata."""
    settings = OpenTelemetrySettings(
        endpoint=f"http://127.0.0.1:{grpc_collector.port}", protocol="grpc", compression=compression, headers="X-Key=a"
    )
    shop(provider_for(settings))
    assert len(grpc_collector.requests) == 1
    check(grpc_collector.requests[0])
    assert grpc_collector.metadata[0]["x-key"] == "a"


@pytest.mark.parametrize(
    ("headers", "sent"), [("", "Basic YW5uOnAgdw=="), ("Authorization=Bearer%20x", "Bearer x")], ids=["url", "header"]
)
def test_user_and_password_of_the_url_over_grpc(grpc_collector: GrpcCollector, headers: str, sent: str) -> None:
    """They are sent as Basic authentication where no header says otherwise, and are no part of the address."""
    url = f"http://ann:p%20w@127.0.0.1:{grpc_collector.port}"
    shop(provider_for(OpenTelemetrySettings(endpoint=url, protocol="grpc", headers=headers)))
    assert grpc_collector.metadata[0]["authorization"] == sent


def test_a_failure_over_grpc_does_not_tell_the_password() -> None:
    """Neither in the statistics nor in what is logged."""
    settings = OpenTelemetrySettings(endpoint="http://ann:secret@127.0.0.1:1", protocol="grpc", timeout=1)
    config = PipelineConfig(batch=BatchOptions(retry=RetryPolicy(initial=0.01, max_elapsed=0.1)))
    provider = OpenTelemetryProvider(settings, config=config, set_global=False)
    stats = send(provider, 1)
    assert stats.last_error
    assert "127.0.0.1:1" in stats.last_error
    assert "secret" not in stats.last_error


def send(provider: OpenTelemetryProvider, count: int, size: int = 1) -> Any:
    """End so many spans at once; the stats afterwards."""
    tracing = TracingService(provider)
    for _ in range(count):
        with tracing.span("work", attributes={"payload": "x" * size}):
            pass
    assert tracing.flush(20)
    stats = tracing.stats()
    tracing.shutdown()
    return stats


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
def test_partial_success_over_http(collector: HttpCollector, protocol: str) -> None:
    """What the collector refuses is counted, and never sent again."""
    collector.answer.partial_success.rejected_spans = 2
    collector.answer.partial_success.error_message = "too old"
    stats = send(provider_for(OpenTelemetrySettings(endpoint=collector.url, protocol=protocol)), 1)
    assert (stats.exported, dict(stats.dropped), len(collector.requests)) == (0, {"rejected": 1}, 1)


def over_grpc(collector: GrpcCollector) -> OpenTelemetryProvider:
    """A provider that sends to the collector."""
    return provider_for(OpenTelemetrySettings(endpoint=f"http://127.0.0.1:{collector.port}", protocol="grpc"))


def test_partial_success_over_grpc(grpc_collector: GrpcCollector) -> None:
    """As over HTTP."""
    grpc_collector.answer.partial_success.rejected_spans = 1
    stats = send(over_grpc(grpc_collector), 1)
    assert (stats.exported, dict(stats.dropped), len(grpc_collector.requests)) == (0, {"rejected": 1}, 1)


@pytest.mark.parametrize(
    ("failure", "delivered"),
    [
        ((grpc.StatusCode.UNAVAILABLE, None), True),
        ((grpc.StatusCode.DEADLINE_EXCEEDED, None), True),
        ((grpc.StatusCode.RESOURCE_EXHAUSTED, 0.01), True),
        ((grpc.StatusCode.RESOURCE_EXHAUSTED, None), False),
        ((grpc.StatusCode.RESOURCE_EXHAUSTED, b"\xff no status"), False),
        ((grpc.StatusCode.RESOURCE_EXHAUSTED, b""), False),
        ((grpc.StatusCode.INVALID_ARGUMENT, None), False),
    ],
)
def test_failures_over_grpc(
    grpc_collector: GrpcCollector, failure: tuple[grpc.StatusCode, float | bytes | None], delivered: bool
) -> None:
    """The codes that may be retried are, RESOURCE_EXHAUSTED only with RetryInfo; the others are counted as lost."""
    grpc_collector.failures = [failure]
    stats = send(over_grpc(grpc_collector), 1)
    lost = {} if delivered else {f"grpc_{failure[0].name.lower()}": 1}
    assert (stats.exported, dict(stats.dropped)) == (int(delivered), lost)
    assert len(grpc_collector.requests) == int(delivered)


def test_a_message_too_large_for_grpc_is_split(grpc_collector: GrpcCollector) -> None:
    """A batch beyond the server's limit arrives in parts."""
    stats = send(over_grpc(grpc_collector), 40, size=4000)
    assert (stats.exported, dict(stats.dropped)) == (40, {})
    assert len(grpc_collector.requests) > 1


def test_nan_and_infinity_in_json(collector: HttpCollector) -> None:
    """Doubles that JSON has no number for arrive as protobuf's JSON writes them."""
    settings = OpenTelemetrySettings(endpoint=collector.url, protocol="http/json")
    tracing = TracingService(provider_for(settings))
    with tracing.span("work", attributes={"nan": math.nan, "infinite": math.inf}):
        pass
    tracing.shutdown()
    (request,) = collector.decoded()
    values = {
        item.key: item.value.double_value for item in request.resource_spans[0].scope_spans[0].spans[0].attributes
    }
    assert math.isnan(values["nan"])
    assert values["infinite"] == math.inf


def test_unreadable_answers_do_not_lose_spans(collector: HttpCollector) -> None:
    """A collector that says 200 and then rubbish has taken the spans."""
    rubbish: Callable[[Any], bytes] = lambda _: b"\xff\xff\xff"  # noqa: E731 - stands for a method
    collector.answer = type("Answer", (), {"SerializeToString": rubbish})()
    stats = send(provider_for(OpenTelemetrySettings(endpoint=collector.url)), 1)
    assert (stats.exported, dict(stats.dropped)) == (1, {})
