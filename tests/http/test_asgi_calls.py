"""The ASGI middleware, called as a server calls it, in situations that no server brings about when it is asked to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Mount, Route, Router

from kai_tracing_core import SpanStatusCode, TracingService
from kai_tracing_core.http import TracingMiddleware
from kai_tracing_core.http.routes import asgi_route
from tests.http.conftest import Recorded


def test_exception_after_the_client_has_gone(service: TracingService, recorded: Recorded) -> None:
    """Frameworks that raise when the client has gone do not make that an error; other exceptions stay one."""

    async def gone(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise ClientDisconnect

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise ValueError

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError

    for app, error in ((gone, ClientDisconnect), (broken, ValueError)):
        scope = {"type": "http", "path": "/", "headers": [], "method": "GET"}
        with pytest.raises(error):
            asyncio.run(TracingMiddleware(app, service=service)(scope, receive, send))
    assert [span.status for span in recorded.wait(2)] == [SpanStatusCode.UNSET, SpanStatusCode.ERROR]


def test_send_that_says_the_client_has_gone(service: TracingService, recorded: Recorded) -> None:
    """The OSError with which a server answers what is sent to nobody is passed on, and no error of the span's.

    The server tells its headers in a tuple and its address as a Unix socket does, without a port.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        raise OSError("gone")

    scope = {"type": "http", "path": "/", "headers": (), "method": "GET", "server": ("/run/shop.sock", None)}
    with pytest.raises(OSError, match="gone"):
        asyncio.run(TracingMiddleware(app, service=service)(scope, None, send))
    span = recorded.one()
    assert span.status == SpanStatusCode.UNSET
    assert span.attributes["server.address"] == "/run/shop.sock"
    assert "server.port" not in span.attributes


def test_route_of_the_endpoint() -> None:
    """Versions of Starlette that do not tell the route are asked for the one that led to the endpoint."""

    async def user(request: Request) -> None: ...

    async def other(request: Request) -> None: ...

    inner = Route("/users/{user}", user)
    router = Router([Route("/users/me", other), Mount("/shop", routes=[inner]), inner])
    scope = {"type": "http", "method": "GET", "path": "/users/7", "endpoint": user, "router": router}
    assert asgi_route(scope) == "/users/{user}"
    assert asgi_route({**scope, "endpoint": test_route_of_the_endpoint}) is None


def test_cancelled_handler(service: TracingService, recorded: Recorded) -> None:
    """A handler that its server gives up ends its span without an error, and nothing stays current."""
    entered = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        entered.set()
        await asyncio.sleep(60)

    async def main() -> None:
        scope = {"type": "http", "path": "/", "headers": [], "method": "GET"}
        task = asyncio.create_task(TracingMiddleware(app, service=service)(scope, None, None))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert service.get_current_span() is None
    span = recorded.one()
    assert (span.status, len(span.events)) == (SpanStatusCode.UNSET, 0)


def test_lifespan_passes(service: TracingService, recorded: Recorded) -> None:
    """What is neither a request nor a WebSocket is none of the middleware's business."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    asyncio.run(TracingMiddleware(app, service=service)({"type": "lifespan"}, 1, 2))
    assert seen == [({"type": "lifespan"}, 1, 2)]
    recorded.wait(0)


def answer_at(service: TracingService, **scope: Any) -> None:
    """Have the middleware handle one request whose scope has these entries."""

    async def application(_: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def send(_: Any) -> None: ...

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    whole = {"type": "http", "method": "GET", "path": "/", "scheme": "http", "headers": [], **scope}
    asyncio.run(TracingMiddleware(application, service=service)(whole, receive, send))


@pytest.mark.parametrize(
    ("server", "attributes"),
    [(("10.0.0.1", 8080), ("10.0.0.1", 8080)), (("/run/shop.sock", None), ("/run/shop.sock", None))],
)
def test_without_a_host(recorded: Recorded, server: Any, attributes: Any) -> None:
    """Where the request names no host (HTTP/1.0) it is the server's address, or its Unix socket, which has no port."""
    answer_at(recorded.service, server=server)
    found = recorded.one().attributes
    assert (found["server.address"], found.get("server.port")) == attributes


def test_a_router_that_fails(recorded: Recorded) -> None:
    """A route that cannot be read leaves the name without one, and disturbs no request."""

    class Route:
        endpoint = print

        @property
        def path_format(self) -> str:
            raise RuntimeError("not matched yet")

    answer_at(recorded.service, route=Route())
    assert recorded.one().name == "GET"
