"""The embedded store's indexes and rollups: what merging them changes (nothing), and who is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from kai_tracing_backend.columns import SHARED
from kai_tracing_backend.language import parse
from kai_tracing_backend.model import Edge, SpanLink, StoredSpan
from kai_tracing_backend.storage.duckdb.attribute_index import INDEXED, segments_with
from kai_tracing_backend.storage.duckdb.segments import SEGMENTS, ranges
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.testing.store_contract import DAY, EVER, MINUTE, NOON, batch, span

HOUR = 60 * MINUTE


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckDBStore]:
    """An empty store."""
    with closing(DuckDBStore(tmp_path, memory_limit="500MB")) as opened:
        yield opened


def test_merging_changes_no_answer(tmp_path: Path) -> None:
    """Rates, services and edges of any window are the same whether the rows of commits are merged often or never."""

    def answers(folder: Path, often: bool) -> list[Any]:
        with closing(DuckDBStore(folder, memory_limit="500MB")) as store:
            for number in range(8):
                at = NOON + number * 25 * MINUTE
                spans = [
                    span(100 * number + n, 1, at=at + n * MINUTE, name=f"op{n % 2}", duration=n * 1_000, status=n % 3)
                    for n in range(1, 20)
                ]
                calls = [span(100 * number + n, 2, 1, at=at + n * MINUTE, service="b") for n in range(1, 20)]
                store.write(batch(*spans))
                store.write(batch(*calls))
                if often:
                    store.settle()
            windows = [
                EVER,
                (NOON, NOON + HOUR),
                (NOON + 7 * MINUTE, NOON + 3 * HOUR + 5),
                (NOON - DAY // 2, NOON + DAY),
            ]
            return [
                answer(*window)
                for window in windows
                for answer in (
                    store.rates,
                    store.services,
                    store.dependencies,
                    lambda s, e: store.operations("a", s, e),
                )
            ]

    assert answers(tmp_path / "often", True) == answers(tmp_path / "never", False)


def test_the_attribute_index_knows_the_segments(store: DuckDBStore) -> None:
    """Of strings, integers and columns with many values, by their types; None for what it does not know.

    What is recent may be in every segment that its run will have.
    """
    for part in range(3):
        first = 1 + part * 5_000
        store.write(
            batch(
                *(
                    span(
                        n, n, attributes={"user": f"u-{n}", "number": n, "all": "x", **dict.fromkeys(INDEXED, f"v{n}")}
                    )
                    for n in range(first, first + 5_000)
                )
            )
        )
    with store._files.cursor("day_20241004") as cursor:
        assert segments_with(cursor, "user", "nobody") == list(range(SEGMENTS))
        assert segments_with(cursor, "user", True) is None
    store.settle()
    store.write(batch(span(20_000, 1)))
    with store._files.cursor("day_20241004") as cursor:
        assert segments_with(cursor, "user", "nobody") == list(range(SEGMENTS, 2 * SEGMENTS))
    store.settle()
    with store._files.cursor("day_20241004") as cursor:
        assert segments_with(cursor, "user", "u-9000") == [1]
        assert segments_with(cursor, "number", 3) == [0]
        assert segments_with(cursor, "number", "3") == []
        assert segments_with(cursor, "all", "x") == [0, 1]
        for key in INDEXED:
            assert segments_with(cursor, key, "v9000") == [1]
        for key, value in (("http.route", "/"), ("user", True), ("user", 1.5)):
            assert segments_with(cursor, key, value) is None
    assert ranges([5, 2, 1, 2]) == [(1, 2), (5, 5)]


def test_a_search_reads_only_the_segments_that_may_have_it(store: DuckDBStore) -> None:
    """What the index narrows is found as before: alone, with more conditions, in arrays, and where there is nothing."""
    first = [span(n, n, attributes={"user": f"u-{n}", "n": n}) for n in range(1, 9_000)]
    store.write(batch(*first, span(20_000, 1, attributes={"user": ["u-1", "u-2"]})))
    found = {
        text: sorted(int(one.summary.trace_id, 16) for one in store.search(parse(text), *EVER).traces)
        for text in (
            '{ span.user = "u-1" }',
            '{ span.user = "u-8500" && span.n > 1 }',
            '{ span.user = "u-8500" && span.n < 1 }',
            '{ span.user = "nobody" }',
            '{ span.user = "u-3" } || { span.n = 8999 }',
            '{ "u-4" = span.user } || { span.user = "u-8999" }',
        )
    }
    assert list(found.values()) == [[1, 20_000], [8_500], [], [], [3, 8_999], [4, 8_999]]


CLIENT = span(1, 1, kind=3, attributes={"server.address": "pay.example", "server.port": 443})


@pytest.mark.parametrize("later", [1, DAY // 2])
@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0)])
def test_a_peer_is_one_until_its_span_arrives(store: DuckDBStore, order: tuple[int, ...], later: int) -> None:
    """A client's call to an address counts as external, and as a call between services when the server is there.

    Whichever comes first, when a retry reaches a second server under the same client, and over midnight.
    """
    server = span(1, 2, 1, service="pay", kind=2, at=NOON + later)
    second = span(1, 3, 1, service="pay", kind=2, at=NOON + later + 1)
    sides = [CLIENT, server, second]
    store.write(batch(sides[order[0]]))
    if order[0] == 0:
        assert store.dependencies(*EVER, peers=True) == [Edge("a", "pay.example", 1, 1.0, 0, "service", "external")]
        assert store.dependencies(*EVER) == []
    for index in order[1:]:
        store.write(batch(sides[index]))
    store.write(batch(*sides))
    assert store.dependencies(*EVER, peers=True) == [Edge("a", "pay", 2, 2.0, 0)]


@pytest.mark.parametrize(
    ("attributes", "name", "kind"),
    [
        ({"db.system.name": "postgresql", "db.namespace": "orders"}, "postgresql/orders", "database"),
        ({"db.system": "redis", "server.address": "10.0.0.1"}, "redis", "database"),
        ({"db.system": "redis", "peer.service": "cache"}, "cache", "database"),
        ({"peer.service": "stripe", "server.address": "api.stripe.com"}, "stripe", "external"),
        ({"url.full": "https://user:pw@api.example:8443/x?y=1"}, "api.example", "external"),
        ({"http.url": "http://old.example/x"}, "old.example", "external"),
    ],
)
def test_what_a_client_calls_has_a_name(store: DuckDBStore, attributes: dict[str, Any], name: str, kind: str) -> None:
    """Databases by their system and namespace, others by service, address or the host of the URL; errors count."""
    store.write(batch(span(1, 1, kind=3, status=2, adjusted_count=2.0, attributes=attributes)))
    assert store.dependencies(*EVER, peers=True) == [Edge("a", name, 1, 2.0, 1, "service", kind)]


@pytest.mark.parametrize("producer_first", [True, False])
@pytest.mark.parametrize("day", [0, 1])
def test_messages_are_dependencies_by_link_and_by_queue(store: DuckDBStore, producer_first: bool, day: int) -> None:
    """A consumer with a link to a producer in another trace: one edge, whichever came first; the queue is a node."""
    topic = {"messaging.destination.name": "orders"}
    producer = span(1, 1, kind=4, attributes=topic)
    link = SpanLink(producer.trace_id, producer.span_id)
    consumer = span(2, 2, kind=5, service="b", at=NOON + day * DAY, attributes=topic, links=[link])
    sides: list[StoredSpan] = [producer, consumer] if producer_first else [consumer, producer]
    for one in sides:
        store.write(batch(one))
    store.write(batch(*sides))
    assert store.dependencies(*EVER) == [Edge("a", "b", 1, 1.0, 0)]
    assert store.dependencies(*EVER, peers=True) == [
        Edge("a", "b", 1, 1.0, 0),
        Edge("a", "orders", 1, 1.0, 0, "service", "queue"),
        Edge("orders", "b", 1, 1.0, 0, "queue", "service"),
    ]


def test_a_queue_is_named_by_its_destination_or_its_peer(store: DuckDBStore) -> None:
    """Zipkin's senders know the broker alone, as the other side of the message."""
    broker = {"peer.service": "kafka"}
    store.write(batch(span(1, 1, kind=4, attributes=broker), span(2, 2, kind=5, service="b", attributes=broker)))
    assert store.dependencies(*EVER, peers=True) == [
        Edge("a", "kafka", 1, 1.0, 0, "service", "queue"),
        Edge("kafka", "b", 1, 1.0, 0, "queue", "service"),
    ]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_what_a_service_calls_in_itself_is_a_loop(store: DuckDBStore, order: tuple[int, ...]) -> None:
    """A server's span under another of its service, whose client shares its id (Zipkin): the client made one call.

    Asked for with `loops` only, in whatever order the three came.
    """
    sides = [
        span(1, 1, kind=3),
        span(1, 1, kind=2, service="b", flags=SHARED, at=NOON + 1),
        span(1, 2, 1, kind=2, service="b", at=NOON + 2),
    ]
    for index in order:
        store.write(batch(sides[index]))
    assert store.dependencies(*EVER) == [Edge("a", "b", 1, 1.0, 0)]
    assert store.dependencies(*EVER, peers=True, loops=True) == [Edge("a", "b", 1, 1.0, 0), Edge("b", "b", 1, 1.0, 0)]


def test_a_link_to_the_parent_is_no_second_call(store: DuckDBStore) -> None:
    """A consumer under its producer that links to it as well counts once."""
    producer = span(1, 1, kind=4)
    store.write(
        batch(producer, span(1, 2, 1, kind=5, service="b", links=[SpanLink(producer.trace_id, producer.span_id)]))
    )
    assert store.dependencies(*EVER) == [Edge("a", "b", 1, 1.0, 0)]


def test_a_trace_that_never_ends_is_found_whole(store: DuckDBStore) -> None:
    """Spans of a trace in many segments, among those of others, in the order of their starts."""
    for part in range(3):
        others = (span(10 + n, n, at=NOON + part) for n in range(1 + part * 9_000, 9_000 + part * 9_000))
        store.write(batch(span(1, part + 1, at=NOON + part), *others))
    assert [int(found.span_id, 16) for found in store.trace("1")] == [1, 2, 3]
    days = store.statistics()
    assert [(day.spans, day.traces) for day in days] == [(27_000, 26_998)]
    assert days[0].bytes > 100_000
