"""What Zipkin's own server tells of the spans that the Zipkin provider sent to it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.interop.conftest import Record, RunProgram
from tests.interop.servers import Zipkin, get

WAYS = {
    "json": {"TRACING_ZIPKIN__ENCODING": "json"},
    "json-gzip": {"TRACING_ZIPKIN__ENCODING": "json", "TRACING_ZIPKIN__GZIP": "true"},
    "protobuf": {"TRACING_ZIPKIN__ENCODING": "protobuf"},
    "protobuf-gzip": {"TRACING_ZIPKIN__ENCODING": "protobuf", "TRACING_ZIPKIN__GZIP": "true"},
}

REMOTE_ENDPOINTS = {
    "POST gateway": {"serviceName": "orders"},
    "POST orders": {"serviceName": "payments.example", "ipv4": "192.0.2.7"},
    "orders publish orders": {"serviceName": "kafka"},
}
"""Whom the program's spans call, as Zipkin is to see it."""


def expected(record: Record) -> dict[str, Any]:
    """The span as `/api/v2/trace` is to show it: Zipkin writes names in lower case."""
    tags = {key: as_text(value) for key, value in record["attributes"].items()}
    if record["status"] != "UNSET":
        tags["otel.status_code"] = record["status"]
    if record["status"] == "ERROR":
        tags["error"] = record["message"] or ""
    span = {
        "traceId": record["trace_id"],
        "id": record["span_id"],
        "parentId": record["parent_id"],
        "kind": None if record["kind"] == "INTERNAL" else record["kind"],
        "name": record["name"].lower(),
        "timestamp": record["start"] // 1000,
        "duration": max(1, (record["end"] - record["start"]) // 1000),
        "localEndpoint": {"serviceName": record["service"]},
        "remoteEndpoint": REMOTE_ENDPOINTS.get(f"{record['name']} {record['service']}"),
        "annotations": [
            {"timestamp": at // 1000, "value": f'"{name}": {json.dumps(attributes)}' if attributes else name}
            for name, at, attributes in record["events"]
        ],
        "tags": tags,
    }
    return {key: value for key, value in span.items() if value}


def as_text(value: Any) -> str:
    """An attribute's value as a tag's."""
    return value if isinstance(value, str) else json.dumps(value)


@pytest.mark.parametrize("way", WAYS)
def test_every_field_of_every_span_arrives(way: str, zipkin: Zipkin, run_program: RunProgram) -> None:
    """Both encodings, compressed or not: ids, parents, kinds, times, tags, annotations, errors and services."""
    records = run_program(TRACING_TYPE="zipkin", TRACING_ZIPKIN__ENDPOINT=f"{zipkin.url}/api/v2/spans", **WAYS[way])
    assert {record["service"] for record in records} == {"gateway", "orders", "payments", "mailer"}
    for trace_id in {record["trace_id"] for record in records}:
        of_trace = {record["span_id"]: expected(record) for record in records if record["trace_id"] == trace_id}
        found = {span["id"]: span for span in zipkin.trace(trace_id, len(of_trace))}
        assert found == of_trace


def test_it_is_found_where_users_look(zipkin: Zipkin, run_program: RunProgram) -> None:
    """The services, the search for errors and the dependency graph know the spans."""
    records = run_program(TRACING_TYPE="zipkin", TRACING_ZIPKIN__ENDPOINT=f"{zipkin.url}/api/v2/spans")
    trace_id = records[-1]["trace_id"]
    zipkin.trace(trace_id, sum(record["trace_id"] == trace_id for record in records))
    assert {"gateway", "orders", "payments", "mailer"} <= set(get(f"{zipkin.url}/api/v2/services"))
    failed = get(f"{zipkin.url}/api/v2/traces", serviceName="payments", annotationQuery="error", limit="100")
    assert trace_id in {trace[0]["traceId"] for trace in failed}
    edges = get(f"{zipkin.url}/api/v2/dependencies", endTs=str(int(time.time() * 1000)))
    assert {("gateway", "orders"), ("orders", "payments")} <= {(edge["parent"], edge["child"]) for edge in edges}
