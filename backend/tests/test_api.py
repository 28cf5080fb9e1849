"""The project's own API, asked over HTTP as its users do."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kai_tracing_backend.api.paging import page
from kai_tracing_backend.api.parameters import (
    ENDLESS,
    ParameterError,
    duration,
    go_duration,
    number,
    rfc3339,
    timestamp,
    window,
)
from kai_tracing_backend.app import Backend
from kai_tracing_backend.storage.cancellation import guarded
from kai_tracing_backend.testing.store_contract import DAY, NOON, batch, span

from tests.support.backend import Answer, ask, running

MINUTE = 60_000_000_000
FIRST = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A running backend with a few traces that its tests leave as they are."""
    with running(tmp_path_factory.mktemp("api")) as made:
        first = int(FIRST, 16)
        made.tenants.get().store.write(
            batch(
                span(first, 1, name="GET /cart", kind=2, duration=30_000_000, service="shop"),
                span(first, 2, 1, name="SELECT", kind=3, at=NOON + 1, service="shop", attributes={"db.system": "pg"}),
                span(first, 3, 2, name="query", kind=2, at=NOON + 2, service="stock", status=2, adjusted_count=4.0),
                span(first + 1, 1, name="GET /", kind=2, at=NOON + 3 * MINUTE, service="shop", duration=10_000_000),
                *(span(n, n, at=NOON + 10 * MINUTE + n, service=f"s{n:02}") for n in range(1, 31)),
            )
        )
        yield made


def get(backend: Backend, path: str, **parameters: Any) -> Answer:
    """A request to `/api/v1`."""
    query = f"?{urlencode(parameters)}" if parameters else ""
    return ask(backend.settings.api_port, f"/api/v1/{path}{query}")


def around(**more: Any) -> dict[str, Any]:
    """The window of the first traces, not of the thirty."""
    return {"start": NOON - MINUTE, "end": NOON + 5 * MINUTE, **more}


# -- traces ------------------------------------------------------------------------------------------------------------


def test_a_trace_by_its_id(backend: Backend) -> None:
    """Its spans by start, each with all that OTLP has, its service, resource, scope and adjusted count."""
    found = get(backend, f"traces/{FIRST.upper()}").json
    assert found["traceId"] == FIRST
    assert [one["service"] for one in found["spans"]] == ["shop", "shop", "stock"]
    assert found["spans"][1]["attributes"] == [{"key": "db.system", "value": {"stringValue": "pg"}}]
    assert found["spans"][2]["adjustedCount"] == 4.0
    assert found["spans"][0]["resource"]["attributes"][0]["key"] == "service.name"


def test_a_trace_by_the_beginning_of_its_id(backend: Backend) -> None:
    """One that begins so is given; of several the ids; an id without its zeros goes before what begins so."""
    assert get(backend, f"traces/{FIRST[:-1]}d").json["traceId"] == f"{int(FIRST, 16) + 1:032x}"
    several = get(backend, f"traces/{FIRST[:12]}")
    assert several.status == 300
    assert several.json["candidates"] == [FIRST, f"{int(FIRST, 16) + 1:032x}"]
    assert "2 traces" in several.json["error"]
    assert get(backend, "traces/1").json["traceId"] == f"{1:032x}"
    missing = get(backend, "traces/fff")
    assert (missing.status, missing.json) == (404, {"error": "there is no trace fff"})
    for wrong in ("xyz", "0" * 33):
        answer = get(backend, f"traces/{wrong}")
        assert (answer.status, answer.json["parameter"]) == (400, "trace_id")


def test_a_span_with_its_parent_and_children(backend: Backend) -> None:
    """Whole itself, the others in a few words; 404 for one that the trace has not."""
    found = get(backend, f"traces/{FIRST}/spans/2").json
    assert [one["name"] for one in found["spans"]] == ["SELECT"]
    assert found["parent"]["name"] == "GET /cart"
    (child,) = found["children"]
    assert (child["name"], child["status"], child["kind"]) == ("query", "error", "server")
    assert get(backend, f"traces/{FIRST}/spans/1").json["parent"] is None
    missing = get(backend, f"traces/{FIRST}/spans/9")
    assert (missing.status, missing.json["error"]) == (404, f"the trace {FIRST} has no span 9")


# -- search ------------------------------------------------------------------------------------------------------------


def test_search_turns_pages(backend: Backend) -> None:
    """Newest first; the cursors lead through all of it once, also when something newer comes meanwhile."""
    asked = {"start": NOON + 10 * MINUTE, "end": NOON + 20 * MINUTE, "limit": 7}
    names, cursor = [], {}
    while True:
        found = get(backend, "search", **asked, **cursor).json
        names += [one["service"] for one in found["traces"]]
        if found["cursor"] is None:
            break
        cursor = {"cursor": found["cursor"]}
    assert names == [f"s{n:02}" for n in range(30, 0, -1)]


def test_search_answers_what_was_found(backend: Backend) -> None:
    """The trace in a list, and the spans that made it be found with what the query names of them."""
    (found,) = get(backend, "search", **around(q='{ span.db.system = "pg" }')).json["traces"]
    assert (found["traceId"], found["service"], found["name"], found["spans"], found["errors"]) == (
        FIRST,
        "shop",
        "GET /cart",
        3,
        1,
    )
    assert found["services"] == [
        {"service": "shop", "spans": 2, "errors": 0},
        {"service": "stock", "spans": 1, "errors": 1},
    ]
    (matched,) = found["spanSets"]
    assert matched["matched"] == 1
    assert matched["spans"][0]["attributes"] == [{"key": "span.db.system", "value": {"stringValue": "pg"}}]
    assert get(backend, "search", **around(q="{ duration > 1h }")).json == {"traces": [], "cursor": None}


@pytest.mark.parametrize(
    ("parameters", "parameter", "said"),
    [
        ({"q": "{ duration > }"}, "q", "column 14"),
        ({"limit": 0}, "limit", "greater"),
        ({"limit": "many"}, "limit", "integer"),
        ({"cursor": "x"}, "cursor", "cursor"),
        ({"start": "yesterday"}, "start", "RFC 3339"),
        ({"end": "now-x"}, "end", "duration"),
        ({"start": NOON, "end": NOON}, "start", "before end"),
        ({"timeout": "soon"}, "timeout", "duration"),
        ({"timeout": "0s"}, "timeout", "more than 0"),
    ],
)
def test_a_wrong_parameter_is_named(backend: Backend, parameters: dict[str, Any], parameter: str, said: str) -> None:
    """In the message and for machines, with a 400."""
    answer = get(backend, "search", **parameters)
    assert (answer.status, answer.json["parameter"]) == (400, parameter)
    assert said in answer.json["error"]


def test_a_query_is_checked_without_being_asked(backend: Backend) -> None:
    """By GET and POST: what is understood, or where it is wrong."""
    good = get(backend, "query/validate", q='{.a="b"}').json
    assert good["valid"] is True
    assert get(backend, "query/validate", q=good["query"]).json["query"] == good["query"]
    port = backend.settings.api_port
    wrong = ask(port, "/api/v1/query/validate", json.dumps({"q": '{ name = "a }'}).encode()).json
    assert (wrong["valid"], wrong["line"], wrong["query"]) == (False, 1, None)
    assert wrong["column"] > 1
    assert wrong["pointer"].endswith("^")


# -- what there is -----------------------------------------------------------------------------------------------------


def test_lists_come_in_pages(backend: Backend) -> None:
    """Services and operations by name, in windows; a cursor of another list is refused."""
    everything = get(backend, "services").json
    assert everything["services"] == [*(f"s{n:02}" for n in range(1, 31)), "shop", "stock"]
    assert everything["cursor"] is None
    first = get(backend, "services", limit=30).json
    rest = get(backend, "services", limit=30, cursor=first["cursor"]).json
    assert first["services"] + rest["services"] == everything["services"]
    assert get(backend, "services", **around()).json["services"] == ["shop", "stock"]
    assert get(backend, "services/shop/operations").json["operations"] == [
        {"name": "GET /", "kind": "server"},
        {"name": "GET /cart", "kind": "server"},
        {"name": "SELECT", "kind": "client"},
    ]
    assert get(backend, f"services/{quote('a/b', safe='')}/operations").json["operations"] == []
    for path, cursor in (("services/shop/operations", first["cursor"]), ("services", "!"), ("services", "W10")):
        refused = get(backend, path, cursor=cursor)
        assert (refused.status, refused.json["parameter"]) == (400, "cursor")


def test_attributes_to_choose_from(backend: Backend) -> None:
    """Keys with scope, type and count, values as OTLP has them, both by how they begin."""
    (found,) = get(backend, "attributes", **around(prefix="db.")).json["attributes"]
    assert found == {"key": "db.system", "scope": "span", "type": "string", "spans": 1}
    values = get(backend, "attributes/service.name/values", **around(scope="resource", prefix="s")).json
    assert values["values"] == [
        {"value": {"stringValue": "shop"}, "spans": 3},
        {"value": {"stringValue": "stock"}, "spans": 1},
    ]
    assert get(backend, "attributes", **around(limit=1)).json["attributes"][0]["key"] == "service.name"


def test_attributes_of_chosen_spans_in_pages(backend: Backend) -> None:
    """Of the spans that a condition selects, page by page; a condition that is none is shown with its place."""
    stock = '{ resource.service.name = "stock" }'
    (only,) = get(backend, "attributes", **around(where=stock, scope="resource")).json["attributes"]
    assert (only["key"], only["spans"]) == ("service.name", 1)
    assert get(backend, "attributes/db.system/values", **around(where=stock)).json["values"] == []
    for path, name in (("attributes", "attributes"), ("attributes/service.name/values", "values")):
        every = get(backend, path, **around()).json
        pages, cursor = [], None
        while pages == [] or cursor is not None:
            page = get(backend, path, **around(limit=1, **({"cursor": cursor} if cursor else {}))).json
            pages += page[name]
            cursor = page["cursor"]
        assert len(pages) > 1
        assert (pages, every["cursor"]) == (every[name], None)
        assert get(backend, path, **around(cursor="!")).json["parameter"] == "cursor"
    for wrong in ("{ duraton > 1s }", "{ } | count() > 1", "{ } && { }"):
        refused = get(backend, "attributes", **around(where=wrong))
        assert (refused.status, refused.json["parameter"]) == (400, "where")
        assert "line 1, column" in refused.json["error"]


def test_dependencies_of_a_window(backend: Backend) -> None:
    """Calls, what they stand for, and errors."""
    sides = {"parent": "shop", "parentType": "service", "child": "stock", "childType": "service"}
    edge = {**sides, "calls": 1, "adjustedCalls": 4.0, "errors": 1}
    assert get(backend, "dependencies", **around()).json["dependencies"] == [edge]
    assert get(backend, "dependencies", **around(service="other")).json["dependencies"] == []
    assert get(backend, "dependencies").json["dependencies"] == []


def test_dependencies_with_what_sends_no_spans(backend: Backend) -> None:
    """With `peers` a database that a client span names, as such; without, services alone."""
    attributes = {"db.system.name": "postgresql"}
    backend.tenants.get().store.write(batch(span(77, 1, service="shop", kind=3, attributes=attributes, at=NOON)))
    asked = around(service="postgresql")
    assert get(backend, "dependencies", **asked).json["dependencies"] == []
    (edge,) = get(backend, "dependencies", **asked, peers="true").json["dependencies"]
    assert (edge["parent"], edge["child"], edge["childType"]) == ("shop", "postgresql", "database")


def test_rates_with_their_series(backend: Backend) -> None:
    """Each operation once whatever its statuses, weights by adjusted count, quantiles, and steps that have calls."""
    answer = get(backend, "rates", **around(step="2m", service="shop", operation="GET /")).json
    (rate,) = answer["rates"]
    assert (rate["service"], rate["operation"], rate["kind"], rate["spans"]) == ("shop", "GET /", "server", 1)
    assert rate["durations"]["p99"] == pytest.approx(10_000_000, rel=0.0101)
    (step,) = rate["series"]
    assert int(step["start"]) <= NOON + 3 * MINUTE < int(step["end"])
    (stock,) = get(backend, "rates", **around(service="stock")).json["rates"]
    assert (stock["adjustedCount"], stock["adjustedErrors"], stock["errorRatio"]) == (4.0, 4.0, 1.0)
    assert stock["perSecond"] == pytest.approx(4 / 360)
    assert stock["series"] is None
    for step in ("90s", "0m", "1s"):
        assert get(backend, "rates", **around(step=step)).json["parameter"] == "step"
    assert "120" in get(backend, "rates", start="now-30d", step="1m").json["error"]


def test_stats(backend: Backend) -> None:
    """What the store has."""
    found = get(backend, "stats").json
    assert (found["tenant"], found["days"], found["services"]) == ("default", ["2024-10-04"], 32)


# -- limits ------------------------------------------------------------------------------------------------------------


class Slow:
    """A store whose `services` reads until it is interrupted, on a real connection of DuckDB."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.begun = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def services(self, start: int = 0, end: int = 1 << 62) -> list[str]:
        """Count to where nobody gets."""
        import duckdb

        with duckdb.connect() as connection:
            try:
                with guarded(connection.interrupt):
                    self.begun.release()
                    connection.execute("SELECT sum(a.range * b.range) FROM range(100_000_000) a, range(1_000_000) b")
            finally:
                self.ended.release()
        return []


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[Backend, Slow]]:
    """A backend that runs two queries at once, and whose list of services takes for ever."""
    with running(tmp_path, queries=2) as made:
        tenant = made.tenants.get()
        store = tenant.store
        tenant.store = Slow(store)
        yield made, tenant.store
        tenant.store = store


def test_a_query_ends_when_its_time_is_over(slow: tuple[Backend, Slow]) -> None:
    """A real slow query is interrupted; the answer says so, and what to do."""
    backend, store = slow
    answer = get(backend, "services", timeout="200ms")
    assert answer.status == 504
    assert "0.2 s" in answer.json["error"]
    assert store.ended.acquire(timeout=30)


def test_a_query_ends_when_its_client_is_gone(slow: tuple[Backend, Slow]) -> None:
    """Closing the connection is enough: the read is interrupted long before its time, and its place is free."""
    backend, store = slow
    for _ in range(3):  # more than run at once
        with socket.create_connection(("127.0.0.1", backend.settings.api_port)) as client:
            client.sendall(b"GET /api/v1/services HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert store.begun.acquire(timeout=30)
        assert store.ended.acquire(timeout=30)


def test_too_many_queries_are_sent_away(slow: tuple[Backend, Slow]) -> None:
    """Two run, a few wait, the next gets a 503 with Retry-After at once; health is answered all the same."""
    backend, store = slow
    port = backend.settings.api_port
    clients = []
    try:
        for _ in range(2 + 2 * 4):
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(b"GET /api/v1/services HTTP/1.1\r\nHost: localhost\r\n\r\n")
            clients.append(client)
        assert store.begun.acquire(timeout=30)
        assert store.begun.acquire(timeout=30)
        answer = get(backend, "stats", timeout="50ms")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert ask(port, "/healthz").status == 200
    finally:
        for client in clients:
            client.close()


# -- parameters --------------------------------------------------------------------------------------------------------


def test_times_in_every_form() -> None:
    """Nanoseconds, RFC 3339 with any fraction and zone, and relative to now."""
    for said in (str(NOON), "2024-10-04T12:00:00Z", "2024-10-04t14:00:00.000+02:00", "2024-10-04 12:00:00.0z"):
        assert timestamp("t", said) == NOON
    assert rfc3339("t", "2024-10-04T12:00:00.123456789Z") == NOON + 123_456_789
    now = time.time_ns()
    assert abs(timestamp("t", "now-1h30m") - (now - 90 * MINUTE)) < MINUTE
    assert abs(timestamp("t", "now+1d") - (now + DAY)) < MINUTE
    for wrong in ("", "x", "-1", "1e9", "now-", "now-x", "2024-02-30T00:00:00Z", "2024-10-04", "1900-01-01T00:00:00Z"):
        with pytest.raises(ParameterError, match=r"^t: "):
            timestamp("t", wrong)
    with pytest.raises(ParameterError, match="2116"):
        timestamp("t", str(ENDLESS + 1))
    assert window(str(NOON), str(NOON + 1), 5) == (NOON, NOON + 1)
    assert window(None, str(NOON), 5) == (NOON - 5, NOON)


def test_durations() -> None:
    """With units, several, and fractions; Go knows no days, and 0 without one."""
    assert duration("d", "1h30m") == 90 * MINUTE
    assert duration("d", "1.5s") == duration("d", "1500ms") == 1_500_000_000
    assert duration("d", ".5µs") == duration("d", "0.5us") == 500
    assert duration("d", "2d") == 2 * DAY
    assert (go_duration("d", "0"), go_duration("d", "3ns")) == (0, 3)
    for wrong in ("", "5", "s", "1h-3m", "1 h", "-1s", "1e3s", "99999999999h"):
        with pytest.raises(ParameterError, match=r"^d: "):
            duration("d", wrong)
    with pytest.raises(ParameterError):
        go_duration("d", "1d")


def test_numbers() -> None:
    """Within their bounds, and no other writing of them."""
    assert (number("n", "5", 1, 9), number("n", "-5", -9, 9), number("n", "+5", 1, 9)) == (5, -5, 5)
    for wrong in ("", "0", "10", "5.0", "0x5", "٣", "--5", "9" * 30):
        with pytest.raises(ParameterError, match=r"^n: "):
            number("n", wrong, 1, 9)


@given(st.sets(st.tuples(st.text(), st.integers(-5, 5))), st.integers(1, 4))
def test_pages_are_the_list(items: set[tuple[str, int]], limit: int) -> None:
    """Whatever the items, page after page gives each once, in order."""
    found: list[tuple[str, int]] = []
    cursor = None
    while True:
        part, cursor = page(items, lambda item: item, limit, cursor)
        found += part
        if cursor is None:
            break
        assert len(part) == limit
    assert found == sorted(items)
