"""OTLP over HTTP: real requests to a real port, and the decoders behind it."""

from __future__ import annotations

import gzip
import json
import socket
from contextlib import suppress
from typing import Any

import httpx
import pytest
from google.rpc.status_pb2 import Status
from hypothesis import given, settings
from hypothesis import strategies as st
from kai_tracing_backend.app import Backend
from kai_tracing_backend.collector.otlp import decode_json, decode_protobuf
from kai_tracing_backend.collector.otlp_messages import Remembered
from kai_tracing_backend.collector.validation import MAX_REJECTED
from kai_tracing_backend.collector.zipkin import decode as decode_zipkin
from kai_tracing_backend.columns import to_span
from kai_tracing_backend.testing.store_contract import EVER
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, TracesData

from tests.support.backend import JSON, PROTOBUF, Answer, ask
from tests.support.otlp import BAD, NOW, as_json, changed, message, nest


def post(backend: Backend, body: bytes, kind: str = PROTOBUF, **headers: str) -> Answer:
    """A request to the OTLP receiver."""
    return ask(backend.settings.otlp_http_port, "/v1/traces", body, kind, **headers)


@pytest.mark.parametrize("reason", BAD)
@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
def test_a_bad_span_is_left_out_and_the_rest_taken(reason: str, kind: str) -> None:
    """Whatever is wrong with it, in both encodings; the reason says what."""
    request = message(BAD[reason], lambda span: None)
    body = json.dumps(as_json(request)).encode() if kind == JSON else request.SerializeToString()
    columns, accepted = (decode_json if kind == JSON else decode_protobuf)(body)
    assert accepted.rejected == 1
    assert reason in accepted.message
    assert columns.finish()["span_id"].to_pylist() == [2]


def test_a_partial_success_says_what_was_rejected(backend: Backend) -> None:
    """How many and why, in the request's encoding; the good spans of the request are there."""
    request = message(changed(trace_id=b"1"), changed(span_id=b"1"), lambda span: None)
    document = post(backend, json.dumps(as_json(request)).encode(), JSON).json["partialSuccess"]
    assert document["rejectedSpans"] == "2"
    answer = post(backend, request.SerializeToString())
    assert answer.headers["Content-Type"] == PROTOBUF
    partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert (partial.rejected_spans, partial.error_message) == (2, document["errorMessage"])
    assert "trace_id must have 16 bytes, not 1; span_id must have 8 bytes, not 1" in partial.error_message
    assert [found.name for found in backend.tenants.get().store.trace("3")] == ["op"]


def test_an_accepted_request_is_answered_with_an_empty_message(backend: Backend) -> None:
    """Protobuf and JSON, plain and gzip: 200, the request's content type, the spans stored once."""
    request = message(count=3)
    for body, kind in ((request.SerializeToString(), PROTOBUF), (json.dumps(as_json(request)).encode(), JSON)):
        for answer in (post(backend, body, kind), post(backend, gzip.compress(body), kind, Content_Encoding="gzip")):
            assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
            assert answer.body in (b"", b"{}")
    assert sum(rate.spans for rate in backend.tenants.get().store.rates(*EVER)) == 3


@pytest.mark.parametrize(
    ("body", "kind", "headers", "status", "said"),
    [
        (b"\xff\xff", PROTOBUF, {}, 400, "protobuf"),
        (b"{", JSON, {}, 400, "not JSON"),
        (b"", JSON, {}, 400, "the body is empty"),
        (gzip.compress(b"{}", mtime=0), JSON, {}, 400, "Content-Encoding does not say so"),
        (bytes(70 << 20), PROTOBUF, {}, 413, "more than"),
        (b"[]", JSON, {}, 400, "resourceSpans"),
        (b'{"resourceSpans": 5}', JSON, {}, 400, "resourceSpans"),
        (b"[" * 100_000, JSON, {}, 400, "not JSON"),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[5]}]}]}', JSON, {}, 400, "spans"),
        (b"x", "text/plain", {}, 415, "Content-Type"),
        (b"x", PROTOBUF, {"Content_Encoding": "br"}, 415, "Content-Encoding"),
        (b"plain text", PROTOBUF, {"Content_Encoding": "gzip"}, 400, "not gzip"),
        (gzip.compress(b"x" * 1_000, mtime=0)[:-9], PROTOBUF, {"Content_Encoding": "gzip"}, 400, "cut off"),
        (gzip.compress(bytes(65 << 20), mtime=0), PROTOBUF, {"Content_Encoding": "gzip"}, 413, "more than"),
        (b"".join([gzip.compress(bytes(33 << 20), mtime=0)] * 2), JSON, {"Content_Encoding": "gzip"}, 413, "more than"),
    ],
    ids=lambda value: value.decode("latin-1")[:12] if isinstance(value, bytes) else None,
)
def test_a_request_that_cannot_be_read_is_refused(
    shared: Backend, body: bytes, kind: str, headers: dict[str, str], status: int, said: str
) -> None:
    """With a `Status` that says why, in the request's encoding; the next request is served."""
    answer = post(shared, body, kind, **headers)
    assert answer.status == status
    text = Status.FromString(answer.body).message if kind == PROTOBUF else answer.json["message"]
    assert said in text
    assert post(shared, message(count=1).SerializeToString()).status == 200


def test_too_much_without_a_length_is_refused(shared: Backend) -> None:
    """A sender in chunks gets the answer as well, after it has sent everything; one that asks first sends nothing."""
    with httpx.Client(base_url=f"http://127.0.0.1:{shared.settings.otlp_http_port}", timeout=60) as client:
        answer = client.post(
            "/v1/traces", content=iter([bytes(1 << 20)] * 80), headers={"Content-Type": "application/x-protobuf"}
        )
    assert (answer.status_code, b"more than 67108864 bytes" in answer.content) == (413, True)
    with socket.create_connection(("127.0.0.1", shared.settings.otlp_http_port), 60) as asking:
        head = f"Content-Type: {PROTOBUF}\r\nContent-Length: {70 << 20}\r\nExpect: 100-continue\r\n\r\n"
        asking.sendall(f"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n{head}".encode())
        assert asking.recv(1_000).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("port", "path", "said"),
    [
        ("otlp_http_port", "/v1/metrics", "there is no /v1/metrics here: this port takes spans, by POST to /v1/traces"),
        ("zipkin_port", "/spans", "by POST to /api/v2/spans"),
        ("jaeger_http_port", "/", "by POST to /api/traces"),
    ],
)
def test_who_comes_to_another_path_is_told_the_right_one(shared: Backend, port: str, path: str, said: str) -> None:
    """As 404: an SDK that sends metrics and logs, too, goes on."""
    answer = ask(getattr(shared.settings, port), path, b"{}")
    assert (answer.status, said in answer.body.decode()) == (404, True)


def test_text_that_is_not_utf8_is_refused(backend: Backend) -> None:
    """In protobuf, where the whole message is then none; a lone surrogate in JSON becomes U+FFFD."""
    body = message(changed(name="QQQQ")).SerializeToString().replace(b"QQQQ", b"\xff\xff\xff\xff")
    assert post(backend, body).status == 400
    document = as_json(message(count=1))
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"] = "a\ud800b"
    assert post(backend, json.dumps(document).encode(), JSON).status == 200
    assert [found.name for found in backend.tenants.get().store.trace("1")] == ["a\ufffdb"]


def test_values_keep_their_types_in_protobuf_and_json(backend: Backend) -> None:
    """Both encodings of one request give the same span."""

    def rich(one: Any) -> None:
        one.kind, one.flags, one.trace_state = 3, 0x101, "ot=th:8"
        one.status.code, one.status.message = 2, "why"
        add = one.attributes.add
        add(key="s").value.string_value = "ä"
        add(key="i").value.int_value = -(1 << 63)
        add(key="d").value.double_value = float("inf")
        add(key="b").value.bool_value = False
        add(key="y").value.bytes_value = b"\0\xff"
        add(key="n").value.SetInParent()
        add(key="e").value.array_value.SetInParent()
        nest(add(key="l").value, 3)
        pair = add(key="m").value.kvlist_value.values.add(key="x")
        pair.value.double_value = 1.0
        add(key="http.response.status_code").value.int_value = 200
        one.events.add(time_unix_nano=NOW, name="e").attributes.add(key="k").value.bool_value = True
        one.links.add(trace_id=b"\1" * 16, span_id=b"\2" * 8, flags=1)
        one.dropped_attributes_count = 7

    request = message(rich)
    request.resource_spans[0].schema_url = "https://schema"
    request.resource_spans[0].scope_spans[0].scope.name = "lib"
    document = as_json(request)
    assert post(backend, request.SerializeToString()).status == 200
    for one in document["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        one["traceId"] = f"{9:032x}"
    document["unknown"] = 1
    # Half of the threshold is below the randomness of this id, so that it says the same.
    assert post(backend, json.dumps(document).encode(), JSON).json == {}
    (first,), (second,) = backend.tenants.get().store.trace("1"), backend.tenants.get().store.trace("9")
    assert {**vars(first), "trace_id": second.trace_id} == vars(second)
    assert first.attributes == {
        "s": "ä",
        "i": -(1 << 63),
        "d": float("inf"),
        "b": False,
        "y": b"\0\xff",
        "n": None,
        "e": [],
        "l": [[[1]]],
        "m": {"x": 1.0},
        "http.response.status_code": 200,
    }


def test_what_a_span_stands_for() -> None:
    """By the threshold in `tracestate` where the trace's randomness fits it, else by kai-tracing's attribute."""
    request = message(
        changed(trace_state="ot=th:8", trace_id=b"\xff" * 16),
        lambda one: setattr(one.attributes.add(key="sampling.adjusted_count").value, "double_value", 5.0),
        lambda one: setattr(one.attributes.add(key="sampling.adjusted_count").value, "double_value", -1.0),
    )
    columns, _ = decode_json(json.dumps(as_json(request)).encode())
    assert columns.finish()["adjusted_count"].to_pylist() == [2.0, 5.0, 1.0]


@pytest.mark.parametrize(
    ("decode", "body", "said"),
    [
        (decode_protobuf, b"\x0a\x00" * 1_000_001, "more than 1000000"),
        (decode_protobuf, b"\x08\x00" * 1_000_001, "more than 1000000"),
        (decode_json, b"[" + b"{}," * 3_000_001, "more than 3000000"),
    ],
    ids=["protobuf", "numbers", "json"],
)
def test_millions_of_empty_items_are_refused(decode: Any, body: bytes, said: str) -> None:
    """Each would become an object of hundreds of bytes; a request is not read that far."""
    with pytest.raises(ValueError, match=said):
        decode(body)


def test_empty_spans_are_counted_and_empty_resources_are_nothing() -> None:
    """Many of them, so that each has to be cheap."""
    columns, accepted = decode_protobuf(b"\x0a\x00" * 100_000)
    assert (len(columns), accepted.rejected) == (0, 0)
    columns, accepted = decode_protobuf(b"\x0a\x04\x12\x02\x12\x00" * 1_000)
    assert (len(columns), accepted.message) == (0, "trace_id must have 16 bytes, not 0 (1000 spans)")


MANY = MAX_REJECTED + 50_000
MANY_BAD = ResourceSpans(scope_spans=[ScopeSpans(spans=[Span(name="x")] * MANY)])


@pytest.mark.parametrize(
    ("decode", "body"),
    [
        (decode_protobuf, TracesData(resource_spans=[MANY_BAD]).SerializeToString()),
        (decode_json, b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * MANY + b"{}]}]}]}"),
        (decode_zipkin, b"[" + b"{}," * MANY + b"{}]"),
    ],
    ids=["protobuf", "JSON", "Zipkin"],
)
def test_spans_that_are_not_valid_are_counted_up_to_a_bound(decode: Any, body: bytes) -> None:
    """A small request may have a million of them: after the first hundred thousand nobody looks at the others."""
    with pytest.raises(ValueError, match=r"more than 100000 spans are not valid: trace_id .* \(100001 spans\)"):
        decode(body)


@pytest.mark.parametrize("which", ["resource", "scope"])
def test_a_resource_or_scope_is_bounded(which: str) -> None:
    """One of nine megabytes is not parsed; its spans are rejected, and say why."""
    request = message(count=1)
    (of_resource,) = request.resource_spans
    holder = of_resource.resource if which == "resource" else of_resource.scope_spans[0].scope
    holder.attributes.add(key="x").value.bytes_value = bytes(9_000_000)
    columns, accepted = decode_protobuf(request.SerializeToString())
    assert (len(columns), accepted.rejected) == (0, 1)
    assert "larger than" in accepted.message


def test_what_was_read_before_is_remembered_within_bounds() -> None:
    """So many messages, and no long ones; one that is not valid is refused each time."""
    read: list[bytes] = []

    def parsed(message: bytes) -> int:
        read.append(message)
        return int(message)

    numbers = Remembered(parsed, most=2, longest=3)
    assert [numbers[text] for text in (b"1", b"1", b"22", b"1", b"4444", b"4444")] == [1, 1, 22, 1, 4444, 4444]
    assert read == [b"1", b"22", b"4444", b"4444"]
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            numbers[b"x"]
    assert (numbers[b"5"], len(numbers)) == (5, 1)


def test_attributes_alike_in_text_are_told_apart() -> None:
    """One key with "1", 1, 1.0 and true, each after another value of that key; twice, since it is remembered."""
    values = {"string_value": "1", "int_value": 1, "double_value": 1.0, "bool_value": True}
    request = message(count=len(values))
    for span, (field_name, value) in zip(request.resource_spans[0].scope_spans[0].spans, values.items(), strict=True):
        span.attributes.add(key="a.key").value.string_value = "before"
        setattr(span.attributes.add(key="a.key").value, field_name, value)
    for _ in range(2):
        columns, _accepted = decode_protobuf(request.SerializeToString())
        found = [to_span(row).attributes["a.key"] for row in columns.finish().to_pylist()]
        assert [(type(value), value) for value in found] == [(type(value), value) for value in values.values()]


def test_a_span_that_cannot_be_parsed_is_left_out() -> None:
    """Text that is not UTF-8 in one span of a protobuf request; its neighbour is taken."""
    body = message(changed(name="QQQQ"), lambda span: None).SerializeToString().replace(b"QQQQ", b"\xff\xff\xff\xff")
    columns, accepted = decode_protobuf(body)
    assert accepted.rejected == 1
    assert "not protobuf" in accepted.message
    assert columns.finish()["span_id"].to_pylist() == [2]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 400), st.binary(max_size=8), st.integers(1, 300))
def test_any_bytes_are_decoded_or_refused(at: int, junk: bytes, size: int) -> None:
    """A good request with bytes changed and cut off anywhere, in both encodings: never anything but a ValueError."""
    request = message(count=2)
    for decode, body in (
        (decode_protobuf, request.SerializeToString()),
        (decode_json, json.dumps(as_json(request)).encode()),
    ):
        with suppress(ValueError):
            decode((body[:at] + junk + body[at + len(junk) :])[:size])
