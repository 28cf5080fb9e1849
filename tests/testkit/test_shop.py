"""The test kit on a real application: a traced client, a server, a database, one trace across them."""

from __future__ import annotations

import pytest
from kai_tracing_inmemory import CapturedSpans
from kai_tracing_opentelemetry import bridge

from kai_tracing_core import SpanKind, SpanStatusCode, tracing
from kai_tracing_core.http import ApiClient


def test_one_trace_across_client_server_and_database(shop: ApiClient, tracing_spans: CapturedSpans) -> None:
    """Spans of the caller, of the server's thread and of an OpenTelemetry instrumentation are one tree."""
    with tracing.span("read"):
        assert shop.get("/books/3").json() == "Orlando"
    tracing_spans.wait_for("GET /books/{book_id}")
    tracing_spans.assert_tree("""
        read
          GET CLIENT {'http.response.status_code': 200, 'url.full': ...}
            GET /books/{book_id} SERVER {'http.route': '/books/{book_id}'}
              connect CLIENT
              SELECT... CLIENT
              price {'book.id': 3}
    """)
    tracing_spans.max_spans("SELECT*", 1)
    tracing_spans.assert_no_n_plus_one()


def test_fastapi_has_telemetry_of_its_own(shop: ApiClient, tracing_spans: CapturedSpans) -> None:
    """It makes a span that records nothing where OpenTelemetry has nothing behind it; the middleware's is there."""
    bridge.install(tracing)
    bridge.uninstall()
    shop.get("/books/3")
    tracing_spans.wait_for("GET /books/{book_id}")
    tracing_spans.assert_span("GET /books/{book_id}", kind=SpanKind.SERVER, parent="GET")


def test_a_real_n_plus_one(shop: ApiClient, tracing_spans: CapturedSpans) -> None:
    """Lazy loading in a loop is found, and the eager query is not complained about."""
    assert shop.get("/books", params={"careful": True}).json()[1] == "Eliot: Middlemarch"
    tracing_spans.wait_for("GET /books")
    tracing_spans.assert_no_n_plus_one()
    tracing_spans.max_spans("SELECT*", 1)
    tracing_spans.clear()
    shop.get("/books")
    tracing_spans.wait_for("GET /books")
    with pytest.raises(AssertionError, match=r"N\+1: 3 x SELECT.* FROM authors .*\n  under GET > GET /books\n"):
        tracing_spans.assert_no_n_plus_one()


def test_an_error_and_where_it_came_from(shop: ApiClient, tracing_spans: CapturedSpans) -> None:
    """A failure inside is an error of the span it happened in, of the server and of the call, but a 404 is none."""
    assert shop.get("/books/9").status_code == 404
    assert shop.get("/books/1").status_code == 500  # last, since the server closes the connection then
    tracing_spans.wait_for("GET /books/{book_id}", count=2)
    price = tracing_spans.assert_span("price", status=SpanStatusCode.ERROR, parent="GET /books/{book_id}")
    assert price.status_message == "RuntimeError: no price for Emma"
    failed = {"http.response.status_code": 500}
    tracing_spans.assert_span("GET /books/*", kind=SpanKind.SERVER, attributes=failed, status=SpanStatusCode.ERROR)
    tracing_spans.assert_span("GET", kind=SpanKind.CLIENT, attributes=failed, status=SpanStatusCode.ERROR, parent=None)
    missing = {"http.response.status_code": 404}
    tracing_spans.assert_span("GET /books/*", attributes=missing, status=SpanStatusCode.UNSET)


@pytest.mark.tracing(sampler="always_off", service_name="shop")
def test_a_dropped_trace_is_dropped_everywhere(shop: ApiClient, tracing_spans: CapturedSpans) -> None:
    """The decision at the root holds in the server and for the database."""
    assert shop.get("/books/3").json() == "Orlando"
    assert not tracing_spans.spans
    assert not tracing_spans.running


@pytest.mark.tracing(fixed=True)
class TestFixed:
    """The marker on a class; the tests of the class do not share ids or times."""

    @pytest.mark.parametrize("_", range(2))
    def test_ids_and_times(self, _: int, tracing_spans: CapturedSpans) -> None:
        """The same in every test."""
        with tracing.span("operation") as span:
            assert tracing_spans.clock is not None
            tracing_spans.clock.advance(2)
        assert (span.trace_id, span.span_id, span.duration) == (f"{1:032x}", f"{1:016x}", 2.001)
