"""Spans as documents: what OTLP, Zipkin and Jaeger readers get, and the way back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from kai_tracing_backend.collector.otlp import UNKNOWN_SERVICE, decode_json, decode_protobuf
from kai_tracing_backend.collector.zipkin import decode as decode_zipkin
from kai_tracing_backend.columns import SHARED, to_span
from kai_tracing_backend.formats import jaeger, otlp, zipkin
from kai_tracing_backend.model import Scope, SpanEvent, SpanLink, StoredSpan
from kai_tracing_backend.testing.store_contract import NOON, span

from tests.support.spans import SPANS

HOUR = 3_600_000_000_000


def decoded(decode: Callable[[bytes], Any], body: bytes) -> list[StoredSpan]:
    """The spans that a receiver makes of a body; all of them must be good."""
    columns, accepted = decode(body)
    assert not accepted.rejected, accepted.message
    rows = columns.finish().to_pylist()
    return [to_span({**row, "attributes_other": dict(row["attributes_other"] or ())}) for row in rows]


def received(one: StoredSpan) -> StoredSpan:
    """A span as OTLP's receiver takes it: what follows from others of its fields does."""
    name = one.resource.get("service.name")
    return replace(
        one,
        duration=one.duration % HOUR,
        flags=one.flags & 0x3FF,
        links=[replace(link, flags=link.flags & 0x3FF) for link in one.links],
        service=name if isinstance(name, str) and name else UNKNOWN_SERVICE,
        adjusted_count=1.0,
    )


SOME = st.lists(SPANS.map(received), max_size=4)


@settings(max_examples=30, deadline=None)
@given(SOME)
def test_otlp_says_all_of_a_span(spans: list[StoredSpan]) -> None:
    """Any spans go out as JSON or protobuf and come in again as they were, whatever their resources and scopes."""
    for decode, body in (
        (decode_json, json.dumps(otlp.traces_data(spans), allow_nan=False).encode()),
        (decode_protobuf, otlp.traces_message(spans).SerializeToString()),
    ):
        found = [replace(one, adjusted_count=1.0) for one in decoded(decode, body)]
        assert sorted(found, key=repr) == sorted(spans, key=repr)


def test_otlp_names_a_resource_and_a_scope_once() -> None:
    """Spans of one origin stand together; what is empty is left out, nothing that was said is."""
    lib = Scope("lib", "1")
    spans = [
        span(1, 1, attributes={"n": 0, "f": False, "e": ""}, scope=lib),
        span(1, 2, 1, service="b"),
        span(1, 3, 1, scope=lib, status=2),
    ]
    first, second = otlp.traces_data(spans)["resourceSpans"]
    assert [one["spanId"][-1] for of in first["scopeSpans"] for one in of["spans"]] == ["1", "3"]
    assert first["scopeSpans"][0]["scope"] == {"name": "lib", "version": "1"}
    assert second["scopeSpans"] == [
        {
            "scope": {},
            "spans": [
                {
                    "traceId": f"{1:032x}",
                    "spanId": f"{2:016x}",
                    "parentSpanId": f"{1:016x}",
                    "name": "op",
                    "startTimeUnixNano": str(NOON),
                    "endTimeUnixNano": str(NOON + 1_000_000),
                }
            ],
        }
    ]
    values = [entry["value"] for entry in first["scopeSpans"][0]["spans"][0]["attributes"]]
    assert values == [{"intValue": "0"}, {"boolValue": False}, {"stringValue": ""}]


# -- Zipkin ------------------------------------------------------------------------------------------------------------


def test_zipkin_spans_come_back_as_they_were_sent() -> None:
    """Shared halves, debug, endpoints, annotations, an empty error tag, a 64-bit trace id, a duration nobody knows."""
    at = NOON // 1_000
    sent: list[dict[str, Any]] = [
        {
            "traceId": "00f067aa0ba902b7",
            "id": f"{2:016x}",
            "parentId": f"{1:016x}",
            "kind": "CLIENT",
            "name": "get /a",
            "timestamp": at,
            "duration": 7,
            "localEndpoint": {"serviceName": "front", "ipv4": "10.0.0.2", "port": 8080},
            "remoteEndpoint": {"serviceName": "db", "ipv4": "10.0.0.1", "port": 5432},
            "annotations": [{"timestamp": at + 1, "value": "ws"}, {"timestamp": at + 1, "value": "wr"}],
            "tags": {"error": "", "http.method": "GET"},
            "debug": True,
        },
        {
            "traceId": f"{5 << 64:032x}",
            "id": f"{2:016x}",
            "kind": "SERVER",
            "name": "get /a",
            "timestamp": at,
            "localEndpoint": {"serviceName": "back"},
            "remoteEndpoint": {"ipv6": "2001:db8::1"},
            "tags": {"otel.status_code": "OK"},
            "shared": True,
        },
    ]
    assert zipkin.trace_document(decoded(decode_zipkin, json.dumps(sent).encode())) == sent


def test_zipkin_is_told_what_has_no_place_there() -> None:
    """Types as text, resource, scope, status and events' attributes as the OpenTelemetry specification maps them."""
    rich = span(
        1,
        kind=3,
        status=2,
        status_message="why",
        duration=300,
        attributes={"n": 1, "x": 0.5, "yes": True, "list": ["a", 1], "bytes": b"\0", "db.system": "redis"},
        events=[SpanEvent(NOON + 1_000, "e", {"n": 1}), SpanEvent(NOON, "f")],
        resource={"service.name": "a", "host.name": "h"},
        scope=Scope("lib", "2"),
    )
    found = zipkin.span_document(rich)
    assert found["tags"] == {
        "host.name": "h",
        "n": "1",
        "x": "0.5",
        "yes": "true",
        "list": '["a", 1]',
        "bytes": "AA==",
        "db.system": "redis",
        "otel.scope.name": "lib",
        "otel.scope.version": "2",
        "otel.status_code": "ERROR",
        "error": "why",
    }
    assert (found["traceId"], found["duration"]) == (f"{1:016x}", 1)
    assert found["remoteEndpoint"] == {"serviceName": "redis"}
    assert [annotation["value"] for annotation in found["annotations"]] == ['"e": {"n": 1}', "f"]
    succeeded = zipkin.span_document(replace(rich, status=0, attributes={"error": False}))
    assert "error" not in succeeded["tags"]


@settings(max_examples=30, deadline=None)
@given(SOME)
def test_any_span_is_one_that_zipkin_takes(spans: list[StoredSpan]) -> None:
    """What is written for Zipkin is read as Zipkin's, span by span, and what was read is written the same for ever."""
    sent = [zipkin.trace_document(spans)]
    for _ in range(2):
        sent.append(zipkin.trace_document(decoded(decode_zipkin, json.dumps(sent[-1], allow_nan=False).encode())))
    assert sent[2] == sent[1]
    for name in ("traceId", "id", "parentId", "kind", "name", "timestamp", "duration", "annotations", "shared"):
        assert [one.get(name) for one in sent[1]] == [one.get(name) for one in sent[0]]


# -- Jaeger ------------------------------------------------------------------------------------------------------------


def test_jaeger_gets_what_its_own_translation_from_otlp_gives() -> None:
    """References, tags with types, logs, processes once each, warnings for what was dropped."""
    rich = span(
        1,
        2,
        1,
        kind=3,
        status=2,
        status_message="why",
        flags=0x101,
        duration=2_500,
        trace_state="a=b",
        attributes={"n": 1, "big": 1 << 60, "x": 0.5, "inf": math.inf, "yes": True, "b": b"\0", "l": ["a"], "s": ""},
        events=[SpanEvent(NOON + 1_000, "e", {"n": 1})],
        links=[
            SpanLink(f"{1:032x}", f"{1:016x}", attributes={"opentracing.ref_type": "follows_from"}),
            SpanLink(f"{9:032x}", f"{8:016x}"),
            SpanLink(f"{9:032x}", f"{7:016x}", attributes={"opentracing.ref_type": "child_of"}),
        ],
        resource={"service.name": "a", "host.name": "h"},
        scope=Scope("lib", "2"),
        dropped_events=3,
    )
    trace = jaeger.trace_document([rich, replace(rich, span_id=f"{3:016x}"), span(1, 1, service="b")])
    assert trace["processes"] == {
        "p1": {"serviceName": "a", "tags": [{"key": "host.name", "type": "string", "value": "h"}]},
        "p2": {"serviceName": "b", "tags": []},
    }
    first = trace["spans"][0]
    assert [(tag["key"], tag["type"], tag["value"]) for tag in first["tags"]] == [
        ("n", "int64", 1),
        ("big", "int64", str(1 << 60)),
        ("x", "float64", 0.5),
        ("inf", "string", "Infinity"),
        ("yes", "bool", True),
        ("b", "binary", "AA=="),
        ("l", "string", '["a"]'),
        ("s", "string", ""),
        ("otel.scope.name", "string", "lib"),
        ("otel.scope.version", "string", "2"),
        ("span.kind", "string", "client"),
        ("otel.status_code", "string", "ERROR"),
        ("error", "bool", True),
        ("otel.status_description", "string", "why"),
        ("w3c.tracestate", "string", "a=b"),
    ]
    assert [(one["refType"], one["spanID"][-1]) for one in first["references"]] == [
        ("FOLLOWS_FROM", "1"),
        ("FOLLOWS_FROM", "8"),
        ("CHILD_OF", "7"),
    ]
    assert first["logs"] == [
        {
            "timestamp": NOON // 1_000 + 1,
            "fields": [{"key": "event", "type": "string", "value": "e"}, {"key": "n", "type": "int64", "value": 1}],
        }
    ]
    assert (first["startTime"], first["duration"], first["flags"]) == (NOON // 1_000, 2, 1)
    assert first["warnings"] == ["3 events were dropped"]
    assert [one["processID"] for one in trace["spans"]] == ["p1", "p1", "p2"]


@settings(max_examples=30, deadline=None)
@given(SOME)
def test_any_span_is_json_to_jaeger(spans: list[StoredSpan]) -> None:
    """No shape of a span makes a document that JSON has no words for; every span names a process that is there."""
    trace = jaeger.trace_document(spans)
    json.dumps(trace, allow_nan=False)
    assert {one["processID"] for one in trace["spans"]} == set(trace["processes"])


def test_a_shared_half_stays_one_but_for_otlp() -> None:
    """Zipkin's `shared` is a note of this package's own: OTLP's flags do not show it."""
    half = span(1, kind=2, flags=SHARED | 1)
    assert zipkin.span_document(half)["shared"] is True
    assert otlp.span_document(half)["flags"] == 1
