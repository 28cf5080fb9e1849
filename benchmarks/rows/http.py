"""What tracing adds to an HTTP request, to the client that makes it and to the server that answers it.

The client's transport and the server's application do nothing, and what a request costs without tracing is
subtracted: what is left is the instrumentation alone.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from statistics import quantiles
from time import thread_time_ns
from typing import Any

from benchmarks import peers
from benchmarks.measure import SCALE
from benchmarks.row import Row

CHUNK = 100
ROUNDS = 80
URL = "http://shop.example.org/cart/items/7?colour=red"
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/cart/items/7",
    "raw_path": b"/cart/items/7",
    "query_string": b"colour=red",
    "root_path": "",
    "headers": [
        (b"host", b"shop.example.org"),
        (b"user-agent", b"python-httpx/0.28.1"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"gzip, deflate, br"),
        (b"connection", b"keep-alive"),
        (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03"),
    ],
    "client": ("192.0.2.1", 54321),
    "server": ("192.0.2.2", 80),
}
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
BODY = {"type": "http.response.body", "body": b"ok"}


def _service() -> Any:
    from kai_tracing_core import TracingService

    return TracingService(peers.kai_provider())


def _transport() -> Any:
    import httpx

    class Nothing(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, headers={"content-length": "2"}, stream=httpx.ByteStream(b"ok"))

    return Nothing()


def _calls(client: Any) -> Callable[[int], None]:
    def body(turns: int) -> None:
        get = client.get
        for _ in range(turns):
            get(URL)

    return body


def _added(traced: Callable[[int], None], plain: Callable[[int], None], between: Callable[[], object]) -> float:
    """Nanoseconds of CPU time of this thread that tracing adds to a request.

    Both are measured in turns, so that load on the machine meets both, and by their lower quartiles.
    """
    figures: tuple[list[float], list[float]] = ([], [])
    for body in (traced, plain):
        body(CHUNK)
    between()
    gc.collect()
    for _ in range(max(5, int(ROUNDS * SCALE))):
        for body, found in zip((traced, plain), figures, strict=True):
            before = thread_time_ns()
            body(CHUNK)
            found.append((thread_time_ns() - before) / CHUNK)
            between()
    with_tracing, without = (quantiles(found, n=4)[0] for found in figures)
    return with_tracing - without


def kai_client() -> float:
    import httpx

    from kai_tracing_core.http.client import create_api_client

    tracing = _service()
    client = create_api_client(service=tracing, transport=_transport())
    figure = _added(_calls(client), _calls(httpx.Client(transport=_transport())), tracing.flush)
    assert tracing.stats().exported > CHUNK
    return figure


def otel_client() -> float:
    import httpx
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

    provider = peers.sdk_provider()
    client = httpx.Client(transport=_transport())
    HTTPXClientInstrumentor.instrument_client(client, tracer_provider=provider)
    return _added(_calls(client), _calls(httpx.Client(transport=_transport())), provider.force_flush)


async def _receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Any) -> None:
    pass


async def _app(_scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send(START)
    await send(BODY)


def _serves(app: Any) -> Callable[[int], None]:
    async def serve(turns: int) -> None:
        for _ in range(turns):
            await app({**SCOPE}, _receive, _send)

    loop = asyncio.new_event_loop()
    return lambda turns: loop.run_until_complete(serve(turns))


def kai_server() -> float:
    from kai_tracing_core.http.asgi import TracingMiddleware

    tracing = _service()
    figure = _added(_serves(TracingMiddleware(_app, service=tracing)), _serves(_app), tracing.flush)
    assert tracing.stats().exported > CHUNK
    return figure


def _otel_server(**options: Any) -> float:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    provider = peers.sdk_provider()
    app = OpenTelemetryMiddleware(_app, tracer_provider=provider, **options)
    return _added(_serves(app), _serves(_app), provider.force_flush)


def otel_server() -> float:
    return _otel_server()


def otel_server_alone() -> float:
    return _otel_server(exclude_spans=["receive", "send"])


ROWS = [
    Row(
        "HTTP client, one request",
        kai_client,
        otel_client,
        "opentelemetry-instrumentation-httpx",
        budget=0.35,
        counted=False,
    ),
    Row(
        "ASGI middleware, one request",
        kai_server,
        otel_server_alone,
        "opentelemetry-instrumentation-asgi without its receive and send spans",
        budget=0.35,
        beside=(("with them, as by default", otel_server),),
        counted=False,
    ),
]
