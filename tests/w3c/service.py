"""A small service of ours behind a real HTTP server, as the W3C's test suite of Trace Context wants to be served."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from kai_tracing_core import RecordingProvider, Span, SpanKind, TracingService
from kai_tracing_core.processing.processor import SpanExporter, SpanProcessor


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[Span], timeout: float) -> int:
        return 0


class _Provider(RecordingProvider):
    """Records, and delivers to nobody."""

    def create_exporter(self) -> SpanExporter:
        return _Nowhere()

    def create_queue(self, exporter: SpanExporter) -> SpanProcessor:
        return SpanProcessor()


class Application:
    """`POST /test` with `[{"url": …, "arguments": …}]` posts the arguments to each url.

    It does so under spans of the request's trace. What comes to `/callback/…` is noted.
    """

    def __init__(self) -> None:
        self.tracing = TracingService(_Provider())
        self.callbacks: dict[str, list[tuple[str, str]]] = {}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Callable[..., Any], send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if scope["path"] == "/test":
            await self._serve(scope, json.loads(body))
        else:
            self.callbacks[scope["path"]] = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def _serve(self, scope: MutableMapping[str, Any], calls: list[dict[str, Any]]) -> None:
        parent = self.tracing.extract_context(scope["headers"])
        with self.tracing.span("POST /test", kind=SpanKind.SERVER, parent=parent):
            async with httpx.AsyncClient() as client:
                for call in calls:
                    with self.tracing.span("POST", kind=SpanKind.CLIENT) as span:
                        headers: dict[str, str] = {}
                        self.tracing.inject_context(span.trace_context, headers)
                        await client.post(call["url"], headers=headers, json=call.get("arguments", []))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()


@contextmanager
def serving() -> Iterator[tuple[Application, int]]:
    """The service behind uvicorn, and its port on this machine."""
    application = Application()
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, log_level="warning", lifespan="off", ws="none")
    server = _Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="w3c-service")
    thread.start()
    assert server.ready.wait(30)
    try:
        yield application, listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
