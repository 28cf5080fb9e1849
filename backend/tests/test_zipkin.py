"""Zipkin's formats: real requests to a real port, and the decoders behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kai_tracing_backend.app import Backend
from kai_tracing_backend.collector.zipkin import decode as decode_zipkin
from kai_tracing_backend.collector.zipkin_protobuf import decode_protobuf
from kai_tracing_backend.collector.zipkin_v1 import decode_v1
from kai_tracing_backend.columns import SHARED, to_span
from kai_tracing_backend.model import Edge
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.testing.store_contract import EVER
from py_zipkin.encoding._encoders import get_encoder
from py_zipkin.encoding._helpers import Endpoint, Span
from py_zipkin.encoding._types import Encoding, Kind

from tests.support.backend import PROTOBUF, ask
from tests.support.otlp import NOW


def zipkin(**fields: Any) -> dict[str, Any]:
    """A span in Zipkin's JSON."""
    return {
        "traceId": "1",
        "id": "1",
        "timestamp": NOW // 1_000,
        "duration": 7,
        "name": "get",
        "localEndpoint": {"serviceName": "front"},
        **fields,
    }


def test_zipkin_spans(backend: Backend) -> None:
    """202; kind, endpoints, tags, annotations and the error are where they belong; 400 where nothing is a span."""
    port = backend.settings.zipkin_port
    one = zipkin(
        kind="CLIENT",
        tags={"http.method": "GET", "error": ""},
        annotations=[{"timestamp": NOW // 1_000, "value": "ws"}],
        remoteEndpoint={"serviceName": "db", "ipv4": "10.0.0.1", "port": 5432},
        debug=True,
        parentId="2",
    )
    answer = ask(port, "/api/v2/spans", json.dumps([one, {"traceId": "xyz"}, {**one, "id": "1" * 17}]).encode())
    assert (answer.status, answer.body) == (
        202,
        b"traceId must be hexadecimal; id must be hexadecimal: it has 17 digits",
    )
    (found,) = backend.tenants.get().store.trace("1")
    assert (found.kind, found.duration, found.status, found.parent_id) == (3, 7_000, 2, f"{2:016x}")
    assert found.attributes == {
        "http.method": "GET",
        "error": "",
        "peer.service": "db",
        "network.peer.address": "10.0.0.1",
        "network.peer.port": 5432,
        "zipkin.debug": True,
    }
    assert [event.name for event in found.events] == ["ws"]
    for wrong in (b"{}", b"[5]", b'[{"traceId":"1"}]', b'[{"traceId":"1","id":"1","annotations":5}]'):
        assert ask(port, "/api/v2/spans", wrong).status == 400


def test_fractions_of_a_microsecond_are_cut_off(backend: Backend) -> None:
    """OpenTelemetry's exporter in JavaScript sends them; what is no number at all is still refused."""
    port = backend.settings.zipkin_port
    one = zipkin(timestamp=NOW // 1_000 + 0.75, annotations=[{"timestamp": NOW // 1_000 + 0.5, "value": "ws"}])
    assert ask(port, "/api/v2/spans", json.dumps([one]).encode()).status == 202
    (found,) = backend.tenants.get().store.trace("1")
    assert (found.start_time, found.events[0].time) == (NOW // 1_000 * 1_000,) * 2
    wrong = json.dumps([zipkin(timestamp="soon")]).encode()
    assert ask(port, "/api/v2/spans", wrong).status == 400


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_two_halves_of_a_call_with_one_id_are_one_dependency(tmp_path: Path, order: tuple[int, ...]) -> None:
    """Zipkin's shared spans, with a child under the server's half, in every order."""
    store = DuckDBStore(tmp_path)
    spans = [
        zipkin(kind="CLIENT"),
        zipkin(kind="SERVER", shared=True, localEndpoint={"serviceName": "back"}),
        zipkin(id="3", parentId="1", kind="CLIENT", localEndpoint={"serviceName": "back"}),
    ]
    for index in order:
        columns, accepted = decode_zipkin(json.dumps([spans[index]]).encode())
        assert not accepted.rejected
        store.write(columns.finish())
    assert store.dependencies(*EVER) == [Edge("front", "back", 1, 1.0, 0)]
    store.close()


# -- protobuf and version 1 --------------------------------------------------------------------------------------------


def py_zipkin(encoding: Encoding, **fields: Any) -> bytes:
    """A span as py-zipkin encodes it."""
    span = Span(
        **{
            "trace_id": "f" * 15 + "1" + "0" * 15 + "2",
            "name": "get",
            "parent_id": f"{3:016x}",
            "span_id": f"{4:016x}",
            "kind": Kind.CLIENT,
            "timestamp": NOW // 10**9,
            "duration": 0.25,
            "local_endpoint": Endpoint("front", "10.0.0.1", None, 80),
            "remote_endpoint": Endpoint("db", None, "2001:db8::1", 5432),
            "annotations": {"ws": float(NOW // 10**9)},
            "tags": {"http.method": "GET", "error": ""},
            **fields,
        }
    )
    encoder = get_encoder(encoding)
    encoded = encoder.encode_queue([encoder.encode_span(span)])
    return encoded.encode() if isinstance(encoded, str) else bytes(encoded)


def test_protobuf_says_what_json_says(backend: Backend) -> None:
    """A span of py-zipkin in both encodings is the same; delivered twice it counts once."""
    port = backend.settings.zipkin_port
    for _ in range(2):
        assert ask(port, "/api/v2/spans", py_zipkin(Encoding.V2_PROTO3), PROTOBUF).status == 202
    (first,) = backend.tenants.get().store.trace("f" * 15 + "1" + "0" * 15 + "2")
    columns, accepted = decode_zipkin(py_zipkin(Encoding.V2_JSON))
    assert accepted.message == ""
    assert to_span(columns.finish().to_pylist()[0]) == first
    assert (first.kind, first.status, first.duration) == (3, 2, 250_000_000)
    assert first.attributes["peer.service"] == "db"
    assert first.attributes["network.peer.address"] == "2001:db8::1"


def length(number: int, content: bytes) -> bytes:
    """A field of protobuf with a length below 16,384."""
    return bytes((number << 3 | 2, len(content) & 127 | 128, len(content) >> 7)) + content


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\xff", "cut off"),
        (py_zipkin(Encoding.V2_PROTO3)[:-3], "cut off"),
        (b"\x0f", "wire type"),
        (b"\x0a\x00" * 1_000_001, "more than 1000000"),
    ],
    ids=["byte", "cut", "type", "many"],
)
def test_protobuf_that_is_none_is_refused(body: bytes, said: str) -> None:
    """Before anything is made of it: without an object for each of a million empty spans."""
    with pytest.raises(ValueError, match=said):
        decode_protobuf(body)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (length(1, b"123"), "traceId must have 8 or 16 bytes, not 3"),
        (length(1, bytes(16)) + length(3, b"1"), "id must have 8 bytes, not 1"),
        (length(5, b"\xff"), "not protobuf"),
        (b"\x0d", "not protobuf"),
    ],
)
def test_a_bad_span_in_protobuf_is_left_out(bad: bytes, said: str) -> None:
    """And its neighbour taken."""
    columns, accepted = decode_protobuf(length(1, bad) + py_zipkin(Encoding.V2_PROTO3))
    assert (len(columns), accepted.rejected) == (1, 1)
    assert said in accepted.message


FRONT, BACK = {"serviceName": "front", "ipv4": "10.0.0.1"}, {"serviceName": "back"}
AT = NOW // 1_000


def version_1(*annotations: tuple[str, int, dict[str, Any]], **fields: Any) -> list[Any]:
    """What spans of version 1 become: service, kind, start and duration in microseconds from `AT`, shared."""
    listed = [{"value": value, "timestamp": AT + at, "endpoint": endpoint} for value, at, endpoint in annotations]
    span = {"traceId": "1", "id": "1", "name": "get", "annotations": listed, **fields}
    columns, accepted = decode_v1(json.dumps([span]).encode())
    assert accepted.message == ""
    found = [to_span(row) for row in columns.finish().to_pylist()]
    return [
        (one.service, one.kind, one.start_time // 1_000 - AT, one.duration // 1_000, bool(one.flags & SHARED))
        for one in found
    ]


def test_core_annotations_are_kinds_and_times() -> None:
    """Of one side, of both, of messages, and of a span that tells its times itself."""
    assert version_1(("cs", 0, FRONT), ("cr", 9, FRONT)) == [("front", 3, 0, 9, False)]
    assert version_1(("sr", 2, BACK), ("ss", 5, BACK)) == [("back", 2, 2, 3, True)]
    assert version_1(("sr", 2, BACK), ("ss", 5, BACK), timestamp=AT, duration=7) == [("back", 2, 0, 7, False)]
    both = [("cs", 0, FRONT), ("sr", 2, BACK), ("ss", 5, BACK), ("cr", 9, FRONT)]
    assert version_1(*both) == [("front", 3, 0, 9, False), ("back", 2, 2, 3, True)]
    assert version_1(("ms", 1, FRONT)) == [("front", 4, 1, 0, False)]
    assert version_1(("mr", 1, BACK)) == [("back", 5, 1, 0, False)]
    local = [{"key": "lc", "value": "", "endpoint": FRONT}]
    assert version_1(timestamp=AT, duration=3, binaryAnnotations=local) == [("front", 0, 0, 3, False)]


def test_version_1_over_http(backend: Backend) -> None:
    """Tags, the other side's address and other annotations are where version 2 has them; a bad span is said."""
    binary = [
        {"key": "http.path", "value": "/", "endpoint": FRONT},
        {"key": "retry", "value": True, "endpoint": FRONT},
        {"key": "sa", "value": True, "endpoint": {"serviceName": "db", "ipv4": "10.0.0.9", "port": 1}},
    ]
    annotations = [
        {"value": "cs", "timestamp": AT, "endpoint": FRONT},
        {"value": "cr", "timestamp": AT + 5, "endpoint": FRONT},
        {"value": "hit", "timestamp": AT + 1, "endpoint": FRONT},
    ]
    span = {"traceId": "7", "id": "8", "name": "get", "annotations": annotations, "binaryAnnotations": binary}
    answer = ask(backend.settings.zipkin_port, "/api/v1/spans", json.dumps([span, {"annotations": 5}]).encode())
    assert (answer.status, answer.body) == (202, b"annotations must be a list of objects")
    (found,) = backend.tenants.get().store.trace("7")
    assert found.attributes == {
        "http.path": "/",
        "retry": "true",
        "peer.service": "db",
        "network.peer.address": "10.0.0.9",
        "network.peer.port": 1,
        "network.local.address": "10.0.0.1",
    }
    assert [event.name for event in found.events] == ["hit"]


@pytest.mark.parametrize("version", [1, 2])
def test_a_retry_counts_once(backend: Backend, version: int) -> None:
    """The same spans again, in one request and in another: each is there once, and so is the call between services."""
    if version == 2:
        spans = [
            zipkin(kind="CLIENT"),
            zipkin(kind="SERVER", shared=True, localEndpoint={"serviceName": "back"}),
        ]
    else:
        both = [("cs", 0, FRONT), ("sr", 2, BACK), ("ss", 5, BACK), ("cr", 9, FRONT)]
        listed = [{"value": value, "timestamp": AT + at, "endpoint": endpoint} for value, at, endpoint in both]
        spans = [{"traceId": "1", "id": "1", "name": "get", "annotations": listed}]
    for _ in range(2):
        answer = ask(backend.settings.zipkin_port, f"/api/v{version}/spans", json.dumps(spans * 2).encode())
        assert (answer.status, answer.body) == (202, b"")
    store = backend.tenants.get().store
    assert sorted((found.service, found.kind) for found in store.trace("1")) == [("back", 2), ("front", 3)]
    assert [(edge.parent, edge.child, edge.calls) for edge in store.dependencies(*EVER)] == [("front", "back", 1)]
