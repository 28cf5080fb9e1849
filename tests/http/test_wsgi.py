"""The WSGI middleware around real applications behind a WSGI server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import flask
import httpx
import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from kai_tracing_core import SpanKind, SpanStatusCode, TracingService
from kai_tracing_core.http import TracingWsgiMiddleware
from tests.http.conftest import Recorded, Serve

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def gate() -> threading.Event:
    """What the streaming route waits for."""
    return threading.Event()


@pytest.fixture
def app(service: TracingService, gate: threading.Event) -> flask.Flask:
    """A Flask application."""
    app = flask.Flask("shop")
    carts = flask.Blueprint("carts", "carts", url_prefix="/carts")

    @app.get("/users/<int:user>")
    def user(user: int) -> dict[str, Any]:
        span = service.get_current_span()
        return {"span": span.span_id, "baggage": dict(service.get_baggage())}

    @app.get("/fail")
    def fail() -> None:
        raise ValueError("out of stock")

    @app.get("/missing")
    def missing() -> None:
        flask.abort(404)

    @app.get("/stream")
    def stream() -> flask.Response:
        def parts() -> Iterator[bytes]:
            yield b"first"
            gate.wait(10)
            with service.span("while streaming"):
                yield b"last"

        return flask.Response(parts())

    @carts.get("/<cart>")
    def cart(cart: str) -> str:
        return cart

    app.register_blueprint(carts)
    return app


@pytest.fixture
def url(app: flask.Flask, service: TracingService, serve_wsgi: Serve) -> str:
    """The traced application behind a WSGI server."""
    app.wsgi_app = TracingWsgiMiddleware(app.wsgi_app, service=service, excluded=["/missing"])
    return serve_wsgi(app)


def test_span_of_a_request(url: str, recorded: Recorded, service: TracingService) -> None:
    """One SERVER span with the stable conventions' attributes and nothing else, continuing the caller's trace."""
    response = httpx.get(f"{url}/users/7?colour=red", headers={"traceparent": PARENT, "baggage": "tenant=t1"})
    span = recorded.one()
    attributes = dict(span.attributes)
    assert isinstance(attributes.pop("network.peer.port"), int)
    assert attributes == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/users/7",
        "url.query": "colour=red",
        "http.route": "/users/<int:user>",
        "server.address": "127.0.0.1",
        "server.port": int(url.rpartition(":")[2]),
        "client.address": "127.0.0.1",
        "network.peer.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "user_agent.original": f"python-httpx/{httpx.__version__}",
        "http.response.status_code": 200,
        "http.response.body.size": len(response.content),
    }
    assert (span.name, span.kind, span.status) == ("GET /users/<int:user>", SpanKind.SERVER, SpanStatusCode.UNSET)
    assert (span.trace_id, span.parent_id) == tuple(PARENT.split("-")[1:3])
    assert response.json() == {"span": span.span_id, "baggage": {"tenant": "t1"}}


def test_routes(url: str, recorded: Recorded) -> None:
    """Blueprints have their prefix, unknown paths no route, and what is excluded no span; 404 is no error."""
    for path in ("/carts/7", "/no/such/path", "/missing"):
        httpx.get(url + path)
    spans = recorded.wait(2)
    assert [span.name for span in spans] == ["GET /carts/<cart>", "GET"]
    assert [span.status for span in spans] == [SpanStatusCode.UNSET] * 2


def test_nothing_stays_current(url: str, recorded: Recorded) -> None:
    """The threads of the server serve many requests; none of them sees the span of another."""
    for _ in range(4):
        httpx.get(f"{url}/carts/7")
    assert [span.parent_id for span in recorded.wait(4)] == [None] * 4


def test_error_page(url: str, recorded: Recorded) -> None:
    """An exception that the framework answers is an error by its status."""
    assert httpx.get(f"{url}/fail").status_code == 500
    span = recorded.one()
    assert (span.name, span.status) == ("GET /fail", SpanStatusCode.ERROR)
    assert span.attributes["error.type"] == "500"


def test_exception(app: flask.Flask, url: str, recorded: Recorded) -> None:
    """An exception that reaches the middleware is recorded, and goes on to the server."""
    app.config["PROPAGATE_EXCEPTIONS"] = True
    assert httpx.get(f"{url}/fail").status_code == 500
    span = recorded.one()
    assert span.status_message == "ValueError: out of stock"
    assert span.attributes["error.type"] == "ValueError"
    assert span.attributes["http.response.status_code"] == 500
    assert [event.name for event in span.events] == ["exception"]


def test_streaming(url: str, gate: threading.Event, recorded: Recorded) -> None:
    """The span of a streamed response runs until its last part, and is current while the parts are made."""
    with httpx.stream("GET", f"{url}/stream") as response:
        parts = response.iter_raw()
        assert next(parts) == b"first"
        recorded.wait(0)
        gate.set()
        assert b"".join(parts).endswith(b"last")
    request, inner = recorded.wait(2)
    assert inner.parent_id == request.span_id
    assert request.end_time >= inner.end_time


def test_mounted(app: flask.Flask, service: TracingService, serve_wsgi: Serve, recorded: Recorded) -> None:
    """Below another application path and route begin with the place where it is mounted."""
    outer = flask.Flask("outer")
    tree = TracingWsgiMiddleware(DispatcherMiddleware(outer.wsgi_app, {"/shop": app.wsgi_app}), service=service)
    httpx.get(f"{serve_wsgi(tree)}/shop/users/7")
    span = recorded.one()
    assert (span.name, span.attributes["url.path"]) == ("GET /shop/users/<int:user>", "/shop/users/7")


def test_traceresponse_and_headers(
    app: flask.Flask, service: TracingService, serve_wsgi: Serve, recorded: Recorded
) -> None:
    """On demand the caller learns the span's identity, and chosen headers become attributes; one span for two."""
    inner = TracingWsgiMiddleware(app.wsgi_app, service=service)
    options: dict[str, Any] = {"capture_request_headers": ["X-Tenant"], "capture_response_headers": ["content-type"]}
    url = serve_wsgi(TracingWsgiMiddleware(inner, service=service, traceresponse=True, **options))
    response = httpx.get(f"{url}/users/1", headers={"X-Tenant": "t1"})
    span = recorded.one()
    assert response.headers["traceresponse"] == f"00-{span.trace_id}-{span.span_id}-03"
    assert span.attributes["http.request.header.x-tenant"] == ["t1"]
    assert span.attributes["http.response.header.content-type"] == ["application/json"]


def test_any_application(service: TracingService, serve_wsgi: Serve, recorded: Recorded) -> None:
    """An application without a framework, one that raises while it makes its body, one whose path is not ASCII."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"some"
        if environ["PATH_INFO"] == "/fail":
            raise ValueError("later")

    url = serve_wsgi(TracingWsgiMiddleware(app, service=service))
    httpx.post(f"{url}/grün", content=b"seven")
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{url}/fail")
    fine, failed = recorded.wait(2)
    assert (fine.name, fine.attributes["url.path"]) == ("POST", "/grün")
    assert fine.attributes["http.request.body.size"] == 5
    assert failed.attributes["http.response.status_code"] == 200
    assert failed.status_message == "ValueError: later"


def test_body_that_cannot_be_closed(service: TracingService, recorded: Recorded) -> None:
    """What the body's `close` raises reaches the server, and the span, which ends."""

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b"some"

        def close(self) -> None:
            raise ValueError("stuck")

    def app(environ: Any, start_response: Any) -> Body:
        start_response("200 OK", [])
        return Body()

    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    body: Any = TracingWsgiMiddleware(app, service=service)(environ, lambda *_: None)
    assert list(body) == [b"some"]
    with pytest.raises(ValueError, match="stuck"):
        body.close()
    assert recorded.one().status_message == "ValueError: stuck"
