"""Any spans, encoded for each receiver, decoded and stored, are what they were, as far as the format can say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kai_tracing_backend.collector import jaeger, zipkin
from kai_tracing_backend.collector.otlp import decode_json, decode_protobuf
from kai_tracing_backend.collector.validation import Accepted
from kai_tracing_backend.collector.zipkin_protobuf import decode_protobuf as decode_protobuf_of_zipkin
from kai_tracing_backend.columns import SHARED, SpanColumns
from kai_tracing_backend.formats import otlp
from kai_tracing_backend.formats import zipkin as zipkin_documents
from kai_tracing_backend.model import Scope, SpanEvent, SpanLink, StoredSpan
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.testing.store_contract import NOON
from py_zipkin.encoding.protobuf import zipkin_pb2

from tests.support.jaeger import batch, body_of, packet_of, span, tags, ttypes
from tests.support.spans import IDS, SPANS, TEXT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stores of this module are."""
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[DuckDBStore]:
    """A store that examples share: each has traces of its own."""
    made = DuckDBStore(folder)
    yield made
    made.close()


def came_back(store: DuckDBStore, sent: StoredSpan, decode: Callable[[bytes], Any], body: bytes) -> None:
    """Decode and store; then the span is what was sent."""
    columns, accepted = decode(body)
    assert accepted.message == ""
    store.write(columns.finish())
    (found,) = (one for one in store.trace(sent.trace_id) if one.span_id == sent.span_id)
    assert replace(found, adjusted_count=sent.adjusted_count) == sent


def received(one: StoredSpan) -> StoredSpan:
    """A span as OTLP's receiver takes it: what follows from others of its fields does."""
    return replace(
        one,
        trace_id=f"{uuid4().int:032x}",  # or the next example would find this one's spans
        duration=one.duration % 3_600_000_000_000,
        flags=one.flags & 0x3FF,
        links=[replace(link, flags=link.flags & 0x3FF) for link in one.links],
        service="shop",
        resource={**one.resource, "service.name": "shop"},
    )


EXAMPLES = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@EXAMPLES
@given(SPANS.map(received))
def test_otlp(store: DuckDBStore, one: StoredSpan) -> None:
    """Everything, in protobuf and JSON."""
    other = replace(one, trace_id=f"{uuid4().int:032x}")
    came_back(store, one, decode_protobuf, otlp.traces_message([one]).SerializeToString())
    came_back(store, other, decode_json, json.dumps(otlp.traces_data([other]), allow_nan=False).encode())


PLAIN = st.builds(
    StoredSpan,
    trace_id=st.just(""),
    span_id=IDS,
    parent_id=st.none() | IDS,
    name=TEXT,
    service=st.sampled_from(("shop", "bäcker")),
    start_time=st.integers(NOON // 1_000, NOON // 1_000 + 86_400_000_000).map(lambda at: at * 1_000),
    duration=st.integers(0, 3_600_000_000).map(lambda long: long * 1_000),
    kind=st.sampled_from((0, 2, 3, 4, 5)),
    events=st.lists(st.builds(SpanEvent, st.integers(0, 1 << 50).map(lambda at: at * 1_000), TEXT), max_size=3),
    links=st.just([]),
)
"""What all formats can say."""


@EXAMPLES
@given(PLAIN, st.dictionaries(st.integers(0, 9).map("key{}".format), TEXT, max_size=4), st.booleans())
def test_zipkin(store: DuckDBStore, one: StoredSpan, tags: dict[str, str], shared: bool) -> None:
    """Tags of text, annotations and `shared`, in JSON as our API writes it, and in py-zipkin's protobuf."""
    sent = replace(one, attributes=tags, flags=SHARED if shared else 0, resource={"service.name": one.service})
    for decode, encode in ((zipkin.decode, json_of), (decode_protobuf_of_zipkin, protobuf_of)):
        fresh = replace(sent, trace_id=f"{uuid4().int:032x}")
        came_back(store, fresh, decode, encode(fresh))


def json_of(one: StoredSpan) -> bytes:
    """A span in Zipkin's JSON."""
    return json.dumps([zipkin_documents.span_document(one)]).encode()


def protobuf_of(one: StoredSpan) -> bytes:
    """A span in Zipkin's protobuf."""
    message = zipkin_pb2.Span(
        trace_id=bytes.fromhex(one.trace_id),
        id=bytes.fromhex(one.span_id),
        parent_id=bytes.fromhex(one.parent_id or ""),
        kind={3: 1, 2: 2, 4: 3, 5: 4}.get(one.kind, 0),
        name=one.name,
        timestamp=one.start_time // 1_000,
        duration=one.duration // 1_000,
        annotations=[{"timestamp": event.time // 1_000, "value": event.name} for event in one.events],
        tags=one.attributes,
        shared=bool(one.flags),
    )
    message.local_endpoint.service_name = one.service
    return bytes(zipkin_pb2.ListOfSpans(spans=[message]).SerializeToString())


SCALARS = st.text(max_size=8) | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False)
TAGS = st.dictionaries(st.integers(0, 9).map("key{}".format), SCALARS, max_size=4)


@EXAMPLES
@given(PLAIN, TAGS, TAGS, TAGS, st.integers(0, 2), st.lists(IDS, max_size=2))
def test_jaeger(
    store: DuckDBStore,
    one: StoredSpan,
    own: dict[str, Any],
    process: dict[str, Any],
    logged: dict[str, Any],
    status: int,
    linked: list[str],
) -> None:
    """Tags by their types, logs, the process, references, the status; for a collector and an agent."""
    kind = {"opentracing.ref_type": "follows_from"}
    for decode, encode in ((jaeger.decode, body_of), (packet(True), compact_of), (packet(False), binary_of)):
        sent = replace(
            one,
            trace_id=f"{uuid4().int:032x}",
            # Without a parent a reference to the same trace would be one.
            links=[SpanLink(f"{1:032x}", span_id, attributes=kind) for span_id in linked],
            attributes=own,
            events=[replace(event, attributes=logged) for event in one.events],
            status=status,
            status_message="why" if status == 2 else "",
            flags=1,
            resource={**process, "service.name": one.service},
            scope=Scope("lib", "1"),
        )
        came_back(store, sent, decode, encode(thrift_of(sent, process)))


def thrift_of(one: StoredSpan, process: dict[str, Any]) -> Any:
    """A span as a batch of jaeger-client's."""
    high, low = signed(one.trace_id[:16]), signed(one.trace_id[16:])
    said = {
        "span.kind": ("", "", "server", "client", "producer", "consumer")[one.kind],
        "otel.status_code": ("", "OK", "ERROR")[one.status],
        "otel.status_description": one.status_message,
        "otel.scope.name": one.scope.name,
        "otel.scope.version": one.scope.version,
    }
    own = {**one.attributes, **{key: value for key, value in said.items() if value}}
    made = span(
        signed(one.span_id),
        low,
        traceIdHigh=high,
        parentSpanId=signed(one.parent_id) if one.parent_id else 0,
        operationName=one.name,
        startTime=one.start_time // 1_000,
        duration=one.duration // 1_000,
        tags=tags(own),
        logs=[
            ttypes.Log(event.time // 1_000, tags({**({"event": event.name} if event.name else {}), **event.attributes}))
            for event in one.events
        ],
        references=[ttypes.SpanRef(1, 1, 0, signed(link.span_id)) for link in one.links],
    )
    return batch(made, service=one.service, **process)


def signed(digits: str) -> int:
    """Hexadecimal digits as thrift's 64 bits."""
    number = int(digits, 16)
    return number - (1 << 64) if number >> 63 else number


def compact_of(made: Any) -> bytes:
    """A packet in the compact protocol."""
    return packet_of(made, compact=True)


def binary_of(made: Any) -> bytes:
    """A packet in the binary protocol."""
    return packet_of(made, compact=False)


def packet(compact: bool) -> Callable[[bytes], Any]:
    """The decoder of an agent's packets."""

    def decode(body: bytes) -> tuple[SpanColumns, Accepted]:
        columns, accepted = SpanColumns(), Accepted()
        jaeger.decode_packet(columns, accepted, body, compact=compact)
        return columns, accepted

    return decode
