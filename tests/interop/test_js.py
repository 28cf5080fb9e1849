"""Node programs with OpenTelemetry's SDK and with zipkin-js send to `kai-tracing serve`, through every receiver.

What the backend's API tells of each span is compared with what the library itself said of it, field by field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import floor
from typing import Any

import pytest

from tests.interop.conftest import Record, RunScript
from tests.interop.otlp import decode
from tests.interop.servers import Backend, get

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
STATUSES = ("UNSET", "OK", "ERROR")
OTLP = {
    "json": ("otlp_http_port", "/v1/traces"),
    "protobuf": ("otlp_http_port", "/v1/traces"),
    "grpc": ("otlp_grpc_port", ""),
}


@pytest.mark.parametrize("way", OTLP)
def test_opentelemetry_by_otlp(way: str, backend: Backend, run_js: RunScript) -> None:
    """OTLP keeps all of it: types, nanoseconds, events, links, trace states, what limits cut off, scope, resource."""
    port, path = OTLP[way]
    said = run_js("opentelemetry.js", way, f"http://127.0.0.1:{backend.port[port]}{path}")
    assert came(backend, said) == {span["spanId"]: of_otlp(span) for span in said}


def test_opentelemetry_by_zipkin(backend: Backend, run_js: RunScript) -> None:
    """Its Zipkin exporter, which sends fractions of microseconds: everything that Zipkin has a place for."""
    said = run_js("opentelemetry.js", "zipkin", f"http://127.0.0.1:{backend.port['zipkin_port']}/api/v2/spans")
    assert came(backend, said) == {span["spanId"]: of_zipkin(span) for span in said}


def came(backend: Backend, said: list[Record]) -> dict[str, Record]:
    """The spans of the one trace of `said` by id, as the backend's API shows them."""
    (trace_id,) = {span["traceId"] for span in said}
    return {span["spanId"]: shown(span) for span in backend.spans(trace_id, len(said))}


def shown(span: Mapping[str, Any]) -> dict[str, Any]:
    """A span of `/api/v1/traces` as the programs describe theirs."""
    scope, resource = span["scope"], span["resource"]
    return {
        **{
            name: span[name] for name in ("traceId", "spanId", "parentSpanId", "traceState", "name", "service", "flags")
        },
        "kind": KINDS[span["kind"]],
        "start": int(span["startTimeUnixNano"]),
        "end": int(span["endTimeUnixNano"]),
        "attributes": decode(span["attributes"]),
        "events": [[one["name"], int(one["timeUnixNano"]), decode(one["attributes"])] for one in span["events"]],
        "links": [
            [one["traceId"], one["spanId"], one["traceState"], decode(one["attributes"])] for one in span["links"]
        ],
        "status": STATUSES[span["status"]["code"]],
        "message": span["status"]["message"],
        "dropped": [span[f"dropped{what}Count"] for what in ("Attributes", "Events", "Links")],
        "scope": [scope["name"], scope["version"], decode(scope["attributes"]), scope["schemaUrl"]],
        "resource": decode(resource["attributes"]),
        "adjustedCount": span["adjustedCount"],
    }


def of_otlp(said: Record) -> dict[str, Any]:
    """A span of OpenTelemetry's SDK as it is to come back."""
    name, version, schema = said["scope"]
    return {
        **said,
        "service": "js",
        "flags": 0,  # the exporters send none
        "start": int(said["start"]),
        "end": int(said["end"]),
        "events": [[event, int(at), attributes] for event, at, attributes in said["events"]],
        "scope": [name, version, {}, schema],
        "adjustedCount": 1,
    }


def of_zipkin(said: Record) -> dict[str, Any]:
    """The same where it came through Zipkin's format.

    Microseconds, everything text as JavaScript writes it, resource and status among the tags, no links nor scope.
    """
    sent = of_otlp(said)
    tags = {key: in_javascript(value) for key, value in {**said["attributes"], **said["resource"]}.items()}
    if said["status"] != "UNSET":
        tags["otel.status_code"] = said["status"]
    if said["message"]:
        tags["error"] = said["message"]
    for name, count in zip(("attributes", "events", "links"), said["dropped"], strict=True):
        if count:
            tags[f"otel.dropped_{name}_count"] = str(count)
    start = int(microseconds(sent["start"])) * 1_000
    return {
        **sent,
        "traceState": "",
        "start": start,
        "end": start + rounded(sent["end"] - sent["start"]),
        "attributes": tags,
        "events": [[name, rounded(at), {}] for name, at, _ in sent["events"]],
        "kind": "UNSPECIFIED" if said["kind"] == "INTERNAL" else said["kind"],
        "links": [],
        "dropped": [0, 0, 0],
        "scope": ["", "", {}, ""],
        "resource": {"service.name": "js"},
    }


def microseconds(nanoseconds: int) -> float:
    """As the exporter counts them: a double, whose last bits are lost."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return seconds * 1e6 + rest / 1e3


def rounded(nanoseconds: int) -> int:
    """Whole microseconds, in nanoseconds, as `Math.round` makes them."""
    return floor(microseconds(nanoseconds) + 0.5) * 1_000


def in_javascript(value: Any) -> str:
    """What `String(value)` gives."""
    if isinstance(value, list):
        return ",".join("" if item is None else in_javascript(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value)


@pytest.mark.parametrize("version", ["1", "2"])
def test_zipkin_js(version: str, backend: Backend, run_js: RunScript) -> None:
    """Both formats of its own HTTP transport: a shared span with both sides' halves, messages, local spans, the error.

    What Zipkin's API answers is what the library wrote; version 1 has no place for the service of a local span
    without annotations.
    """
    url = f"http://127.0.0.1:{backend.port['zipkin_port']}/api"
    said = run_js("zipkin.js", f"JSON_V{version}", f"{url}/v{version}/spans")
    (trace_id,) = {span["traceId"] for span in said}
    found = backend.wait_for(len(said), lambda: get(f"{url}/v2/trace/{trace_id}") or [])
    if version == "1":
        for span in said:
            if span["name"] == "handle":
                span["localEndpoint"] = {"serviceName": "unknown_service"}
    assert in_order(found) == in_order(said)


def in_order(spans: list[Any]) -> list[Any]:
    """Spans in one order."""
    return sorted(spans, key=lambda span: json.dumps(span, sort_keys=True))
