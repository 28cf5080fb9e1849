"""What strangers send to the decoders of Zipkin's and Jaeger's formats: spans or a ValueError, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kai_tracing_backend.collector import jaeger, zipkin
from kai_tracing_backend.collector.validation import Accepted
from kai_tracing_backend.collector.zipkin_protobuf import decode_protobuf
from kai_tracing_backend.collector.zipkin_thrift import decode_thrift
from kai_tracing_backend.collector.zipkin_v1 import decode_v1
from kai_tracing_backend.columns import SpanColumns
from py_zipkin.encoding._encoders import get_encoder
from py_zipkin.encoding._helpers import Endpoint, Span
from py_zipkin.encoding._types import Encoding, Kind

from tests.support import zipkin_thrift as v1
from tests.support.jaeger import NOW, batch, body_of, packet_of, span, tag, ttypes

Decode = Callable[[bytes], Any]


def packet(compact: bool) -> Decode:
    """The decoder of an agent's packets."""

    def decode(body: bytes) -> tuple[SpanColumns, Accepted]:
        columns, accepted = SpanColumns(), Accepted()
        jaeger.decode_packet(columns, accepted, body, compact=compact)
        return columns, accepted

    return decode


ENDPOINT = {"serviceName": "shop", "ipv4": "10.0.0.1", "port": 80}
V2 = {
    "traceId": "1",
    "id": "2",
    "parentId": "3",
    "kind": "CLIENT",
    "name": "get",
    "timestamp": NOW,
    "duration": 5,
    "localEndpoint": ENDPOINT,
    "remoteEndpoint": ENDPOINT,
    "annotations": [{"timestamp": NOW, "value": "ws"}],
    "tags": {"error": "", "n": "1"},
    "debug": True,
    "shared": True,
}
V1 = {
    "traceId": "1",
    "id": "2",
    "name": "get",
    "annotations": [
        {"timestamp": NOW + at, "value": value, "endpoint": ENDPOINT}
        for at, value in enumerate(("cs", "sr", "x", "cr"))
    ],
    "binaryAnnotations": [{"key": key, "value": True, "endpoint": ENDPOINT} for key in ("sa", "n", "lc")],
}
PROTO = get_encoder(Encoding.V2_PROTO3)
PROTO_SPAN = Span(
    trace_id=f"{1:032x}",
    span_id=f"{2:016x}",
    parent_id=f"{3:016x}",
    name="get",
    kind=Kind.CLIENT,
    timestamp=NOW / 1e6,
    duration=0.5,
    local_endpoint=Endpoint("shop", "10.0.0.1", None, 80),
    annotations={"ws": NOW / 1e6},
    tags={"n": "1"},
)
BATCH = batch(
    span(
        tags=[tag("n", 1), tag("error", True), tag("x", 0.5), tag("span.kind", "client")],
        logs=[ttypes.Log(NOW, [tag("event", "done")])],
        references=[ttypes.SpanRef(1, 1, 1, 1)],
    ),
    host="a",
)
HOST = v1.endpoint("shop", "10.0.0.1", 80, "2001:db8::1")
THRIFT_SPAN = v1.v1(
    annotations=[v1.annotation(NOW + at, value, HOST) for at, value in enumerate(("cs", "sr", "x", "cr"))],
    tags=[v1.binary("sa", host=HOST), v1.binary("n", "1", host=HOST), v1.binary("l", b"\0\0\0\1", v1.I32, HOST)],
    parent=3,
    debug=True,
    timestamp=NOW,
    duration=5,
    high=1,
)
WAYS: dict[str, tuple[Decode, bytes]] = {
    "Zipkin JSON": (zipkin.decode, json.dumps([V2, V2]).encode()),
    "Zipkin v1 JSON": (decode_v1, json.dumps([V1, V1]).encode()),
    "Zipkin v1 thrift": (decode_thrift, v1.spans_of(THRIFT_SPAN, THRIFT_SPAN)),
    "Zipkin protobuf": (decode_protobuf, PROTO.encode_queue([PROTO.encode_span(PROTO_SPAN)] * 2)),
    "Jaeger collector": (jaeger.decode, body_of(BATCH)),
    "Jaeger agent, compact": (packet(True), packet_of(BATCH, compact=True)),
    "Jaeger agent, binary": (packet(False), packet_of(BATCH, compact=False)),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_requests_below_are_good(way: str) -> None:
    """Before they are changed: so that changes meet all of a decoder."""
    decode, body = WAYS[way]
    columns, accepted = decode(body)
    assert len(columns) > 0
    assert accepted.message == ""


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_changed_bytes_are_decoded_or_refused(way: str, data: st.DataObject) -> None:
    """A good request with bytes put in, taken out, changed and cut off anywhere, and bytes that never were one."""
    decode, body = WAYS[way]
    at, out = data.draw(st.integers(0, len(body))), data.draw(st.integers(0, 8))
    changed = body[:at] + data.draw(st.binary(max_size=8)) + body[at + out :]
    for wrong in (changed, changed[: data.draw(st.integers(0, len(changed)))], data.draw(st.binary(max_size=64))):
        with suppress(ValueError):
            columns, accepted = decode(wrong)
            columns.finish()
            assert accepted.rejected >= 0


JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(("cs", "sr", "sa")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("value", "timestamp", "endpoint", "serviceName", "ipv4", "port", "key")), inner, max_size=3
        )
    ),
    max_leaves=5,
)


def places(document: Any) -> list[tuple[Any, ...]]:
    """The paths to everything in a document."""
    if not isinstance(document, (dict, list)):
        return []
    items = document.items() if isinstance(document, dict) else enumerate(document)
    return [path for key, value in items for path in [(key,), *((key, *rest) for rest in places(value))]]


@pytest.mark.parametrize(("decode", "good"), [(zipkin.decode, V2), (decode_v1, V1)], ids=["v2", "v1"])
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_json_is_decoded_or_refused(decode: Decode, good: dict[str, Any], data: st.DataObject) -> None:
    """A good span with anything that JSON can say in the place of any of its parts; its neighbour is taken."""
    changed = json.loads(json.dumps(good))
    *way, last = data.draw(st.sampled_from(places(good)))
    holder: Any = changed
    for key in way:
        holder = holder[key]
    holder[last] = data.draw(JUNK)
    columns, _ = decode(json.dumps([changed, good]).encode())
    assert len(columns) >= 1
    columns.finish()
