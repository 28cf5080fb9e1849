"""What Jaeger's own server tells of the spans that reached it by OTLP and by thrift."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from tests.interop.conftest import Record, RunProgram
from tests.interop.otlp import decode
from tests.interop.servers import Jaeger, get

KINDS = ("INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
STATUS = {"OK": 1, "ERROR": 2}
THRIFT_LINK = {"opentracing.ref_type": "follows_from"}


def otlp_ways(jaeger: Jaeger) -> dict[str, dict[str, str]]:
    """The settings by which spans reach Jaeger as OTLP."""
    http = f"http://127.0.0.1:{jaeger.port['otlp_http']}"
    grpc = f"http://127.0.0.1:{jaeger.port['otlp_grpc']}"
    otel = {"TRACING_TYPE": "opentelemetry", "OTEL_EXPORTER_OTLP_ENDPOINT": http}
    return {
        "http/protobuf": {**otel, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        "http/protobuf gzip": {
            **otel,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        },
        "http/json": {**otel, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
        "grpc": {**otel, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": grpc},
        "jaeger": {"TRACING_TYPE": "jaeger", "TRACING_JAEGER__ENDPOINT": f"{http}/v1/traces"},
    }


def thrift_ways(jaeger: Jaeger) -> dict[str, dict[str, str]]:
    """The settings by which spans reach Jaeger as thrift."""
    port = jaeger.port
    return {
        "agent": {
            "TRACING_TYPE": "jaeger",
            "TRACING_JAEGER__PROTOCOL": "agent",
            "TRACING_JAEGER__AGENT_HOST": "127.0.0.1",
            "TRACING_JAEGER__AGENT_PORT": str(port["compact"]),
        },
        "collector": {
            "TRACING_TYPE": "jaeger",
            "TRACING_JAEGER__PROTOCOL": "collector",
            "TRACING_JAEGER__ENDPOINT": f"http://127.0.0.1:{port['thrift_http']}/api/traces",
        },
    }


def expected(record: Record, thrift: bool) -> dict[str, Any]:
    """The span as it is to come back. Thrift has microseconds, no lists, and no attributes of links."""
    unit = 1000 if thrift else 1
    start = record["start"] // unit * unit
    duration = (record["end"] - record["start"]) // unit * unit
    return {
        "service": record["service"],
        "traceId": record["trace_id"],
        "spanId": record["span_id"],
        "parentSpanId": record["parent_id"] or "",
        "name": record["name"],
        "kind": record["kind"],
        "start": start,
        "end": start + duration,
        "attributes": values(record["attributes"], thrift),
        "events": [(name, at // unit * unit, values(attributes, thrift)) for name, at, attributes in record["events"]],
        "links": [
            (trace, span, dict(THRIFT_LINK) if thrift else attributes) for trace, span, attributes in record["links"]
        ],
        "status": STATUS.get(record["status"], 0),
        "message": record["message"] or "",
    }


def values(attributes: Mapping[str, Any], thrift: bool) -> dict[str, Any]:
    """Attributes as they are to come back."""
    return {k: json.dumps(v) if thrift and isinstance(v, list) else v for k, v in attributes.items()}


def found(resource: Mapping[str, Any], span: Mapping[str, Any]) -> dict[str, Any]:
    """A span of `/api/v3/traces` in the same form."""
    status = span.get("status", {})
    return {
        "service": decode(resource["attributes"])["service.name"],
        "traceId": span["traceId"],
        "spanId": span["spanId"],
        "parentSpanId": span.get("parentSpanId", ""),
        "name": span["name"],
        "kind": KINDS[max(0, span.get("kind", 0) - 1)],
        "start": int(span["startTimeUnixNano"]),
        "end": int(span["endTimeUnixNano"]),
        "attributes": decode(span.get("attributes", ())),
        "events": [
            (event["name"], int(event["timeUnixNano"]), decode(event.get("attributes", ())))
            for event in span.get("events", ())
        ],
        "links": [
            (link["traceId"], link["spanId"], decode(link.get("attributes", ()))) for link in span.get("links", ())
        ],
        "status": status.get("code", 0),
        "message": status.get("message", ""),
    }


def check(jaeger: Jaeger, records: list[Record], thrift: bool) -> None:
    """Jaeger has exactly these spans, field by field, and users find them."""
    assert {record["service"] for record in records} == {"gateway", "orders", "payments", "mailer"}
    for trace_id in {record["trace_id"] for record in records}:
        of_trace = {r["span_id"]: expected(r, thrift) for r in records if r["trace_id"] == trace_id}
        came = [found(*pair) for pair in jaeger.spans(trace_id, len(of_trace))]
        assert {span["spanId"]: span for span in came} == of_trace
    check_user_interface(jaeger, records)


def check_user_interface(jaeger: Jaeger, records: list[Record]) -> None:
    """What Jaeger's pages are drawn from: services, operations, search by tag, errors in red, and who calls whom."""
    api = f"{jaeger.url}/api"
    assert {"gateway", "orders", "payments", "mailer"} <= set(get(f"{api}/services")["data"])
    assert {"POST /orders", "check stock"} <= set(get(f"{api}/services/orders/operations")["data"])
    tags = json.dumps({"text": "Grüße aus Köln 🍵"})
    traces = {
        trace["traceID"]: trace for trace in get(f"{api}/traces", service="gateway", tags=tags, limit="100")["data"]
    }
    trace_id = next(record["trace_id"] for record in records if record["service"] == "gateway")
    failed = {r["span_id"] for r in records if r["trace_id"] == trace_id and r["status"] == "ERROR"}
    in_red = {
        span["spanID"]
        for span in traces[trace_id]["spans"]
        if {"key": "error", "type": "bool", "value": True} in span["tags"]
    }
    assert in_red == failed
    edges = get(f"{api}/dependencies", endTs=str(int(time.time() * 1000)), lookback="3600000")["data"]
    assert {("gateway", "orders"), ("orders", "payments")} <= {(edge["parent"], edge["child"]) for edge in edges}


@pytest.mark.parametrize("way", ["http/protobuf", "http/protobuf gzip", "http/json", "grpc", "jaeger"])
def test_every_field_arrives_by_otlp(way: str, jaeger: Jaeger, run_program: RunProgram) -> None:
    """OTLP in every protocol and encoding keeps all of it: types, nanoseconds, links with their attributes."""
    check(jaeger, run_program(**otlp_ways(jaeger)[way]), thrift=False)


@pytest.mark.parametrize("way", ["agent", "collector"])
def test_every_field_arrives_by_thrift(way: str, jaeger: Jaeger, run_program: RunProgram) -> None:
    """The UDP and HTTP receivers of old Jaeger installations get everything that thrift has a place for."""
    check(jaeger, run_program(**thrift_ways(jaeger)[way]), thrift=True)
