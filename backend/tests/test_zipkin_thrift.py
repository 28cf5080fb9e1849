"""Zipkin's v1 thrift: what its fields say, hostile bytes, and a real port."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import pytest
from kai_tracing_backend.app import Backend
from kai_tracing_backend.collector.zipkin_thrift import decode_thrift
from kai_tracing_backend.columns import SHARED, to_span
from kai_tracing_backend.model import Edge, StoredSpan
from kai_tracing_backend.testing.store_contract import EVER

from tests.support.backend import ask
from tests.support.jaeger import NOW, THRIFT
from tests.support.zipkin_thrift import BOOL, BYTES, DOUBLE, I16, I32, I64, annotation, binary, endpoint, spans_of, v1

FRONT = endpoint("front", "10.0.0.1", 40_000)
BACK = endpoint("back", None, 80, "2001:db8::1")


def decoded(*spans: bytes) -> list[StoredSpan]:
    """What good spans become."""
    columns, accepted = decode_thrift(spans_of(*spans))
    assert accepted.message == ""
    return [to_span(row) for row in columns.finish().to_pylist()]


def test_every_field_arrives() -> None:
    """Ids of 128 bits, kind, times, both endpoints, IPv6, a port above 32,767, annotations, tags and debug."""
    (found,) = decoded(
        v1(
            -1,
            -2,
            [annotation(NOW, "cs", FRONT), annotation(NOW + 3, "hit", FRONT), annotation(NOW + 9, "cr", FRONT)],
            [binary("http.path", "/\u00e9", host=FRONT), binary("sa", host=BACK)],
            parent=5,
            debug=True,
            timestamp=NOW,
            duration=8,
            high=1,
        )
    )
    assert (found.trace_id, found.span_id, found.parent_id) == (f"{1:016x}{'f' * 16}", "f" * 15 + "e", f"{5:016x}")
    assert (found.service, found.name, found.kind) == ("front", "get", 3)
    assert (found.start_time, found.duration) == (NOW * 1_000, 8_000)
    assert [(event.time, event.name) for event in found.events] == [((NOW + 3) * 1_000, "hit")]
    assert found.attributes == {
        "http.path": "/\u00e9",
        "network.local.address": "10.0.0.1",
        "network.local.port": 40_000,
        "peer.service": "back",
        "network.peer.address": "2001:db8::1",
        "network.peer.port": 80,
        "zipkin.debug": True,
    }


@pytest.mark.parametrize(
    ("content", "kind", "tag"),
    [
        ("text", None, "text"),
        (b"\1", BOOL, "true"),
        (b"\0", BOOL, "false"),
        (struct.pack(">h", -7), I16, "-7"),
        (struct.pack(">i", -7), I32, "-7"),
        (struct.pack(">q", -7), I64, "-7"),
        (struct.pack(">d", 1.5), DOUBLE, "1.5"),
        (b"ab\xff", BYTES, "YWL/"),
        (b"ab\xff", I32, "YWL/"),
        (b"ab\xff", 99, "YWL/"),
        (b"\xff", 6, "\ufffd"),
    ],
)
def test_binary_annotations_of_every_type_are_tags(content: Any, kind: int | None, tag: str) -> None:
    """Numbers in digits, bytes and what is not of its type's size in Base64."""
    (found,) = decoded(v1(annotations=[annotation(NOW, "cs", FRONT)], tags=[binary("key", content, kind, FRONT)]))
    assert found.attributes["key"] == tag


def test_both_sides_of_a_call_over_http(backend: Backend) -> None:
    """202; two spans, the server's half shared, and one call between them, however often it is sent."""
    both = [annotation(NOW + at, said, host) for at, said, host in ((0, "cs", FRONT), (2, "sr", BACK), (5, "ss", BACK))]
    body = spans_of(v1(1, 2, [*both, annotation(NOW + 9, "cr", FRONT)]))
    for kind in (THRIFT, "application/vnd.apache.thrift.binary"):
        answer = ask(backend.settings.zipkin_port, "/api/v1/spans", body, kind)
        assert (answer.status, answer.body) == (202, b"")
    store = backend.tenants.get().store
    found = [(one.service, one.kind, one.duration, bool(one.flags & SHARED)) for one in store.trace("1")]
    assert found == [("front", 3, 9_000, False), ("back", 2, 3_000, True)]
    assert store.dependencies(*EVER) == [Edge("front", "back", 1, 1.0, 0)]


def test_a_bad_span_is_left_out(backend: Backend) -> None:
    """The answer says why, and its neighbour is stored; 400 where none is good, or it is no thrift."""
    port, good = backend.settings.zipkin_port, v1(timestamp=NOW)
    answer = ask(port, "/api/v1/spans", spans_of(v1(0, timestamp=NOW), good), THRIFT)
    assert (answer.status, answer.body) == (202, b"trace_id must not be all zero")
    assert len(backend.tenants.get().store.trace("1")) == 1
    for wrong in (spans_of(v1(own=0, timestamp=NOW)), spans_of(good)[:-2], b"[]", b"", spans_of(v1(timestamp=-1))):
        assert ask(port, "/api/v1/spans", wrong, THRIFT).status == 400
    assert ask(port, "/api/v1/spans", spans_of(good), "text/plain").status == 415


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\x0c\x7f\xff\xff\xff", "length"),
        (b"\x0c\xff\xff\xff\xff", "length"),
        (b"\x0b\0\0\0\1\0", "list of structs"),
        (spans_of(b"\0" * 10), "without"),
        (b"\x0c\0\x0f\x42\x40" + b"\0" * 1_000_000, "without"),
        (spans_of(b"\x0f\0\6\x0c\0\x0f\x42\x40" + b"\0" * 1_000_000), "limit"),
        (spans_of(b"\x0c\0\x63" * 1_000), "depth"),
    ],
    ids=["huge count", "negative count", "list of texts", "empty span", "empty spans", "annotations", "nested"],
)
def test_small_bytes_do_not_become_many_objects(body: bytes, said: str) -> None:
    """What claims more than it has, or nests, is refused before much is made of it."""
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"(?i){said}"):
        decode_thrift(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20
