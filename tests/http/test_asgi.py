"""The ASGI middleware around real applications behind uvicorn."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fastapi
import httpx
import pytest
from kai_tracing_opentelemetry.tracer import TracerProvider
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from kai_tracing_core import SpanKind, SpanStatusCode, TracingService
from kai_tracing_core.http import TracingMiddleware
from tests.http.conftest import Recorded, Serve

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Shop:
    """The routes of the tests, over a service."""

    def __init__(self, service: TracingService) -> None:
        self.service = service
        self.gate = threading.Event()
        self.pool = ThreadPoolExecutor(1)

    async def user(self, request: Request) -> JSONResponse:
        span = self.service.get_current_span()
        return JSONResponse({"span": span.span_id, "baggage": dict(self.service.get_baggage())})

    async def fail(self, request: Request) -> None:
        raise ValueError("out of stock")

    async def missing(self, request: Request) -> None:
        raise HTTPException(404)

    async def broken(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("down", 503)

    async def background(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok", background=BackgroundTask(self._after, "background"))

    def _after(self, name: str) -> None:
        self.gate.wait(10)
        with self.service.span(name):
            self.service.get_current_span().set_attribute("tenant", self.service.get_baggage().get("tenant", ""))

    async def tasks(self, request: Request) -> PlainTextResponse:
        async def task() -> None:
            with self.service.span("task"):
                await asyncio.sleep(0)

        loop = asyncio.get_running_loop()
        await asyncio.create_task(task())
        await asyncio.to_thread(self._work, "to_thread")
        await loop.run_in_executor(self.service.executor(1), self._work, "executor")
        await loop.run_in_executor(self.pool, self.service.wrap(self._work), "wrapped")
        return PlainTextResponse("ok")

    def _work(self, name: str) -> None:
        with self.service.span(name):
            pass

    async def stream(self, request: Request) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.to_thread(self.gate.wait, 10)
            with self.service.span("while streaming"):
                yield b"last"

        return StreamingResponse(parts())

    async def upload(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    async def chat(self, websocket: WebSocket) -> None:
        await websocket.accept()
        with self.service.span("message"):
            await websocket.send_text(await websocket.receive_text())
        await websocket.receive_text()  # raises when the client has gone

    async def closed_chat(self, websocket: WebSocket) -> None:
        await websocket.close()

    def starlette(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/users/{user:int}", self.user),
                Route("/fail", self.fail),
                Route("/missing", self.missing),
                Route("/broken", self.broken),
                Route("/background", self.background),
                Route("/tasks", self.tasks),
                Route("/stream", self.stream),
                Route("/upload", self.upload, methods=["POST"]),
                Route("/health", self.broken),
                WebSocketRoute("/rooms/{room}", self.chat),
                WebSocketRoute("/closed", self.closed_chat),
                Mount("/tenants/{tenant}", routes=[Route("/carts/{cart}", self.user)]),
                Mount("/static", StaticFiles(directory=".")),
            ]
        )


@pytest.fixture
def shop(service: TracingService) -> Shop:
    """The application's code."""
    made = Shop(service)
    yield made
    made.pool.shutdown()


@pytest.fixture
def url(shop: Shop, serve: Serve) -> str:
    """The traced application behind uvicorn."""
    return serve(TracingMiddleware(shop.starlette(), service=shop.service, excluded=["/health*"]))


def test_span_of_a_request(url: str, recorded: Recorded) -> None:
    """One SERVER span with the stable conventions' attributes and nothing else, continuing the caller's trace."""
    response = httpx.get(f"{url}/users/7?colour=red", headers={"traceparent": PARENT, "baggage": "tenant=t1"})
    span = recorded.one()
    port = int(url.rpartition(":")[2])
    attributes = dict(span.attributes)
    assert isinstance(attributes.pop("network.peer.port"), int)
    assert attributes == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/users/7",
        "url.query": "colour=red",
        "http.route": "/users/{user}",
        "server.address": "127.0.0.1",
        "server.port": port,
        "client.address": "127.0.0.1",
        "network.peer.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "user_agent.original": f"python-httpx/{httpx.__version__}",
        "http.response.status_code": 200,
        "http.response.body.size": len(response.content),
    }
    assert (span.name, span.kind, span.status) == ("GET /users/{user}", SpanKind.SERVER, SpanStatusCode.UNSET)
    assert (span.trace_id, span.parent_id) == tuple(PARENT.split("-")[1:3])
    assert span.has_remote_parent
    assert response.json() == {"span": span.span_id, "baggage": {"tenant": "t1"}}
    assert not span.events


def test_mounted_routes(url: str, recorded: Recorded) -> None:
    """The route of a mounted router begins with the mount's own template, not with its values."""
    httpx.get(f"{url}/tenants/t1/carts/7")
    assert recorded.one().name == "GET /tenants/{tenant}/carts/{cart}"


def test_mounted_application_without_routes(url: str, recorded: Recorded) -> None:
    """Where what is mounted has no routes the mount itself is the route."""
    assert httpx.get(f"{url}/static/pyproject.toml").status_code == 200
    assert recorded.one().name == "GET /static"


def test_unknown_route(url: str, recorded: Recorded) -> None:
    """Without a route the name is the method alone, whatever the path; 404 is no error of the server's."""
    httpx.get(f"{url}/no/such/path")
    span = recorded.one()
    assert (span.name, span.status) == ("GET", SpanStatusCode.UNSET)
    assert "http.route" not in span.attributes
    assert span.attributes["http.response.status_code"] == 404


@pytest.mark.parametrize(("path", "status", "is_error"), [("/missing", 404, False), ("/broken", 503, True)])
def test_status(path: str, status: int, is_error: bool, url: str, recorded: Recorded) -> None:
    """4xx is the client's fault, 5xx is an error."""
    httpx.get(url + path)
    span = recorded.one()
    assert span.attributes["http.response.status_code"] == status
    assert span.status is (SpanStatusCode.ERROR if is_error else SpanStatusCode.UNSET)
    assert span.attributes.get("error.type") == (str(status) if is_error else None)


@pytest.mark.parametrize("outside", [True, False], ids=["around", "added"])
def test_exception(outside: bool, shop: Shop, serve: Serve, recorded: Recorded) -> None:
    """An exception is recorded once with its status, wherever the middleware stands."""
    app: Any = shop.starlette()
    if outside:
        app = TracingMiddleware(app, service=shop.service)
    else:
        app.add_middleware(TracingMiddleware, service=shop.service)
    assert httpx.get(f"{serve(app)}/fail").status_code == 500
    span = recorded.one()
    assert (span.name, span.status) == ("GET /fail", SpanStatusCode.ERROR)
    assert span.status_message == "ValueError: out of stock"
    assert span.attributes["error.type"] == "ValueError"
    assert span.attributes["http.response.status_code"] == 500
    assert [event.name for event in span.events] == ["exception"]


def test_excluded(url: str, recorded: Recorded) -> None:
    """A path that is excluded is not traced."""
    httpx.get(f"{url}/health")
    httpx.get(f"{url}/users/1")
    assert recorded.one().name == "GET /users/{user}"


def test_twice(shop: Shop, serve: Serve, recorded: Recorded) -> None:
    """Two middlewares around each other make one span."""
    app = shop.starlette()
    app.add_middleware(TracingMiddleware, service=shop.service)
    httpx.get(f"{serve(TracingMiddleware(app, service=shop.service))}/users/1")
    recorded.one()


def test_background_task(url: str, shop: Shop, recorded: Recorded) -> None:
    """The span ends with the response; the background task after it is still its child, with the baggage."""
    httpx.get(f"{url}/background", headers={"baggage": "tenant=t1"})
    request = recorded.one()
    shop.gate.set()
    background = recorded.wait(2)[1]
    assert background.parent_id == request.span_id
    assert background.attributes["tenant"] == "t1"
    assert background.start_time >= request.end_time


def test_tasks_and_threads(url: str, recorded: Recorded) -> None:
    """Tasks, `to_thread`, the service's executor and wrapped functions run under the request's span."""
    httpx.get(f"{url}/tasks")
    request, *inner = recorded.wait(5)
    assert {span.name for span in inner} == {"task", "to_thread", "executor", "wrapped"}
    assert {span.parent_id for span in inner} == {request.span_id}


def test_streaming(url: str, shop: Shop, recorded: Recorded) -> None:
    """The span of a streamed response runs until its last part, and is current while the parts are made."""
    with httpx.stream("GET", f"{url}/stream") as response:
        parts = response.iter_raw()
        assert next(parts) == b"first"
        recorded.wait(0)
        shop.gate.set()
        assert list(parts) == [b"last"]
    request, inner = recorded.wait(2)
    assert inner.parent_id == request.span_id
    assert request.end_time >= inner.start_time


def test_client_that_goes_away(url: str, recorded: Recorded) -> None:
    """A client that leaves in the middle of its request is an event, but no error of the server's."""
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome")
    span = recorded.one()
    assert span.status is SpanStatusCode.UNSET
    assert [event.name for event in span.events] == ["client.disconnect"]
    assert "http.response.status_code" not in span.attributes


def test_client_that_leaves_a_stream(url: str, shop: Shop, recorded: Recorded) -> None:
    """A client that leaves a streamed response ends the span without an error."""
    with httpx.stream("GET", f"{url}/stream") as response:
        assert next(response.iter_raw()) == b"first"
    shop.gate.set()
    span = recorded.wait_for("GET /stream")
    assert span.status is SpanStatusCode.UNSET


def test_websocket(url: str, recorded: Recorded) -> None:
    """A WebSocket is one span from its handshake to its end; the client's closing it is no error."""
    with connect(f"{url.replace('http', 'ws')}/rooms/red", additional_headers={"traceparent": PARENT}) as websocket:
        websocket.send("hello")
        assert websocket.recv() == "hello"
    socket_span, message = recorded.wait(2)
    assert (socket_span.name, socket_span.kind) == ("GET /rooms/{room}", SpanKind.SERVER)
    assert socket_span.trace_id == PARENT.split("-")[1]
    assert socket_span.attributes["http.response.status_code"] == 101
    assert socket_span.attributes["url.scheme"] == "ws"
    assert socket_span.attributes["websocket.close_code"] == 1000
    assert socket_span.status is SpanStatusCode.UNSET
    assert message.parent_id == socket_span.span_id


def test_refused_websocket(url: str, recorded: Recorded) -> None:
    """A handshake that the application refuses is 403."""
    with pytest.raises(InvalidStatus), connect(f"{url.replace('http', 'ws')}/closed"):
        pass
    span = recorded.one()
    assert span.attributes["http.response.status_code"] == 403
    assert span.status is SpanStatusCode.UNSET


def test_traceresponse_and_headers(shop: Shop, serve: Serve, recorded: Recorded) -> None:
    """On demand the caller learns the span's identity, and chosen headers become attributes."""
    app = TracingMiddleware(
        shop.starlette(),
        service=shop.service,
        traceresponse=True,
        capture_request_headers=["X-Tenant"],
        capture_response_headers=["content-type"],
    )
    response = httpx.get(f"{serve(app)}/users/1", headers={"X-Tenant": "t1"})
    span = recorded.one()
    assert response.headers["traceresponse"] == f"00-{span.trace_id}-{span.span_id}-03"
    assert span.attributes["http.request.header.x-tenant"] == ["t1"]
    assert span.attributes["http.response.header.content-type"] == ["application/json"]


def test_no_traceresponse_by_default(url: str) -> None:
    """Nothing is told to callers that nobody asked to tell them."""
    assert "traceresponse" not in httpx.get(f"{url}/users/1").headers


def test_repeated_headers(url: str, recorded: Recorded) -> None:
    """Two traceparent headers are none, several baggage headers are one."""
    headers = [("traceparent", PARENT), ("traceparent", PARENT), ("baggage", "a=1"), ("baggage", "b=2")]
    response = httpx.get(f"{url}/users/1", headers=headers)
    assert recorded.one().parent_id is None
    assert response.json()["baggage"] == {"a": "1", "b": "2"}


def test_fastapi(service: TracingService, serve: Serve, recorded: Recorded) -> None:
    """Routes of FastAPI: its own, those of routers with a prefix, and those of mounted applications."""
    app, inner = fastapi.FastAPI(), fastapi.FastAPI()
    router, nested = fastapi.APIRouter(prefix="/carts"), fastapi.APIRouter(prefix="/{cart}/items")

    @app.get("/users/{user}")
    def user(user: int) -> dict[str, int]:
        with service.span("in a thread"):
            return {"user": user}

    @nested.get("/{item}")
    async def item(cart: int, item: int) -> dict[str, int]:
        return {"item": item}

    @inner.get("/reports/{report}")
    async def report(report: int) -> dict[str, int]:
        return {"report": report}

    router.include_router(nested)
    app.include_router(router, prefix="/v1")
    app.mount("/admin", inner)
    app.add_middleware(TracingMiddleware, service=service)
    url = serve(app)
    for path in ("/users/7", "/v1/carts/1/items/2", "/admin/reports/3", "/users/none"):
        httpx.get(url + path)
    spans = recorded.wait(5)
    requests = [span for span in spans if span.kind is SpanKind.SERVER]
    assert [span.name for span in requests] == [
        "GET /users/{user}",
        "GET /v1/carts/{cart}/items/{item}",
        "GET /admin/reports/{report}",
        "GET /users/{user}",
    ]
    assert [span.attributes["http.response.status_code"] for span in requests] == [200, 200, 200, 422]
    assert next(span for span in spans if span.name == "in a thread").parent_id == requests[0].span_id


def test_fastapi_with_telemetry_of_its_own(service: TracingService, serve: Serve, recorded: Recorded) -> None:
    """Where FastAPI itself makes the request's span, through OpenTelemetry's API, the middleware makes none."""
    app = fastapi.FastAPI(telemetry={"tracer_provider": TracerProvider(service.provider)})

    @app.get("/users/{user}")
    async def user(user: int) -> None:
        with service.span("inner"):
            pass

    app.add_middleware(TracingMiddleware, service=service)
    httpx.get(f"{serve(app)}/users/7")
    request = recorded.wait_for("GET /users/{user}")
    assert recorded.wait_for("inner").trace_id == request.trace_id
    assert [span.name for span in recorded.so_far() if span.kind is SpanKind.SERVER] == [request.name]


def test_application_root(shop: Shop, serve: Serve, recorded: Recorded) -> None:
    """Behind a root path both path and route begin with it."""
    url = serve(TracingMiddleware(shop.starlette(), service=shop.service), root_path="/shop")
    httpx.get(f"{url}/users/7")
    span = recorded.one()
    assert (span.attributes["http.route"], span.attributes["url.path"]) == ("/shop/users/{user}", "/shop/users/7")


def test_disabled(serve: Serve) -> None:
    """While tracing is disabled the application works as it would without the middleware."""
    service = TracingService(auto=False)
    shop = Shop(service)
    response = httpx.get(f"{serve(TracingMiddleware(shop.starlette(), service=service))}/users/1")
    assert response.status_code == 200
