"""The real instrumentations make the same spans over this project as over OpenTelemetry's SDK."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import requests
import sqlalchemy
import uvicorn
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation

from tests.bridge.conftest import Site

Both = Callable[[Callable[[trace.TracerProvider], Any]], tuple[list[dict[str, Any]], list[dict[str, Any]]]]


@contextmanager
def instrumented(instrumentor: Any, **options: Any) -> Iterator[None]:
    """The instrumentation, for a block."""
    instrumentor.instrument(**options)
    try:
        yield
    finally:
        instrumentor.uninstrument()


def closed_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The application on a real uvicorn; its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # so that nobody is refused before the server runs
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def test_httpx(both: Both, site: Site) -> None:
    """Pages, a missing page, a failing one and a server that is away; the headers carry the client span."""
    away = f"http://127.0.0.1:{closed_port()}"

    def program(provider: trace.TracerProvider) -> None:
        tracer = provider.get_tracer("program", "1.0")
        with (
            instrumented(HTTPXClientInstrumentor(), tracer_provider=provider),
            httpx.Client() as client,
            tracer.start_as_current_span("shop", kind=trace.SpanKind.SERVER),
        ):
            client.get(f"{site.url}/page")
            client.post(f"{site.url}/missing")
            client.get(f"{site.url}/failing")
            with pytest.raises(httpx.ConnectError):
                client.get(away)
            with suppress_instrumentation():
                client.get(f"{site.url}/quiet")

    stock, ours = both(program)
    assert ours == stock
    assert len(stock) == 5
    assert ["traceparent" in headers for headers in site.headers] == [True, True, True, False] * 2


def test_requests(both: Both, site: Site) -> None:
    """As with httpx, without a surrounding span: every request is a root."""
    away = f"http://127.0.0.1:{closed_port()}"

    def program(provider: trace.TracerProvider) -> None:
        with instrumented(RequestsInstrumentor(), tracer_provider=provider), requests.Session() as session:
            session.get(f"{site.url}/page", timeout=5)
            session.get(f"{site.url}/failing", timeout=5)
            with pytest.raises(requests.ConnectionError):
                session.get(away, timeout=5)

    stock, ours = both(program)
    for spans in (stock, ours):
        for span in spans:
            for _, attributes, _ in span["events"]:
                attributes.pop("exception.message", None)  # names an object by its address
            span["status"] = span["status"][0]
    assert ours == stock
    assert [span["parent"] for span in stock] == [None] * 3
    assert all("traceparent" in headers for headers in site.headers)


def test_fastapi(both: Both) -> None:
    """A route, a failing route and a missing one, called by a client that sends a trace context."""
    header = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "vendor=1"}

    def program(provider: trace.TracerProvider) -> None:
        app = FastAPI()
        tracer = provider.get_tracer("program")

        @app.get("/items/{number}")
        async def item(number: int) -> int:
            with tracer.start_as_current_span("look up", attributes={"number": number}):
                return number

        @app.get("/failing")
        def failing() -> None:
            raise ValueError("no such thing")

        FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
        with served(app) as url, httpx.Client(headers={"host": "shop.example"}) as client:
            assert client.get(f"{url}/items/7", headers=header).text == "7"
            assert client.get(f"{url}/failing").status_code == 500
            assert client.get(f"{url}/missing").status_code == 404
        FastAPIInstrumentor.uninstrument_app(app)

    stock, ours = both(program)
    for spans in (stock, ours):
        for span in spans:
            span["attributes"].pop("net.peer.port", None)
            span["attributes"].pop("net.host.port", None)
            span["attributes"].pop("http.host", None)
            span["attributes"].pop("http.url", None)
        spans.sort(key=lambda span: (span["name"], str(span["attributes"])))
    assert ours == stock
    assert any(span["remote"] and span["state"] == "vendor=1" for span in stock)


def test_asgi(both: Both) -> None:
    """A plain ASGI application whose answer has two parts."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    def program(provider: trace.TracerProvider) -> None:
        with served(OpenTelemetryMiddleware(app, tracer_provider=provider)) as url:
            assert httpx.get(url, headers={"host": "shop.example"}).text == "ab"

    stock, ours = both(program)
    for span in (*stock, *ours):
        for name in ("net.peer.port", "net.host.port", "http.host", "http.url", "http.server_name"):
            span["attributes"].pop(name, None)
    assert ours == stock
    assert stock


def test_sqlalchemy(both: Both) -> None:
    """Statements that work and one that fails, on SQLite, under a span."""

    def program(provider: trace.TracerProvider) -> None:
        engine = sqlalchemy.create_engine("sqlite://")
        tracer = provider.get_tracer("program")
        with (
            instrumented(SQLAlchemyInstrumentor(), engine=engine, tracer_provider=provider),
            tracer.start_as_current_span("checkout"),
            engine.connect() as connection,
        ):
            connection.execute(sqlalchemy.text("create table carts (id integer)"))
            connection.execute(sqlalchemy.text("insert into carts values (:id)"), {"id": 1})
            assert connection.execute(sqlalchemy.text("select id from carts")).scalar() == 1
            with pytest.raises(sqlalchemy.exc.OperationalError):
                connection.execute(sqlalchemy.text("select * from nowhere"))
        engine.dispose()

    stock, ours = both(program)
    assert ours == stock
    assert len(stock) >= 5


def test_logging(both: Both) -> None:
    """Log records get the ids of the span that is current."""
    records: list[logging.LogRecord] = []
    found: list[tuple[str, str]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger = logging.getLogger("tests.bridge.logging")
    logger.propagate = False
    logger.addHandler(Keep())

    def program(provider: trace.TracerProvider) -> None:
        with instrumented(LoggingInstrumentor(), tracer_provider=provider, inject_trace_context=True):
            with provider.get_tracer("program").start_as_current_span("work") as span:
                logger.warning("inside")
                context = span.get_span_context()
                found.append((f"{context.trace_id:032x}", f"{context.span_id:016x}"))
            logger.warning("outside")

    stock, ours = both(program)
    assert ours == stock
    ids: list[Any] = [(vars(record)["otelTraceID"], vars(record)["otelSpanID"]) for record in records]
    assert ids == [found[0], ("0", "0"), found[1], ("0", "0")]
    assert all(vars(record)["otelTraceSampled"] for record in records[::2])
