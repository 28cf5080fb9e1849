"""A small service of ours behind a real HTTP server, as the W3C Trace Context test suite wants to be served."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn

from kai_tracing_core import RecordingProvider, Span, SpanKind, TracingService
from kai_tracing_core.processing.processor import SpanExporter, SpanProcessor

Headers = Sequence[tuple[str, str]]
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True)
class Sent:
    """What one outgoing request of the service carried: a valid `traceparent`, taken apart, and `tracestate`."""

    trace_id: str
    parent_id: str
    flags: int
    state: str

    @property
    def members(self) -> dict[str, str]:
        """The members of `tracestate` in their order; a second one with the same key fails the test."""
        pairs = [member.partition("=")[::2] for member in self.state.split(",") if member]
        assert len(dict(pairs)) == len(pairs), f"a repeated key in {self.state!r}"
        return dict(pairs)


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
    """`POST /test` with `[{"url": …}]` calls each url under spans of the request's trace; `/callback/…` is noted."""

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

    async def _serve(self, scope: MutableMapping[str, Any], calls: list[dict[str, str]]) -> None:
        parent = self.tracing.extract_context(scope["headers"])
        with self.tracing.span("POST /test", kind=SpanKind.SERVER, parent=parent):
            async with httpx.AsyncClient() as client:
                for call in calls:
                    with self.tracing.span("POST", kind=SpanKind.CLIENT) as span:
                        headers: dict[str, str] = {}
                        self.tracing.inject_context(span.trace_context, headers)
                        await client.post(call["url"], headers=headers)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()


class Harness:
    """Sends requests, headers exactly as given, and reads what the service sent on because of them."""

    def __init__(self, application: Application, port: int) -> None:
        self._application = application
        self._port = port
        self._numbers = itertools.count()

    def send(self, *headers: tuple[str, str], calls: int = 1) -> list[Sent]:
        """Have the service make that many calls, and give what each of them carried."""
        paths = [f"/callback/{next(self._numbers)}" for _ in range(calls)]
        body = json.dumps([{"url": f"http://127.0.0.1:{self._port}{path}"} for path in paths]).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.putrequest("POST", "/test")
            for name, value in (*headers, ("Content-Length", str(len(body)))):
                connection.putheader(name, value)
            connection.endheaders(body)
            assert connection.getresponse().status == 204
        finally:
            connection.close()
        return [_read(self._application.callbacks.pop(path)) for path in paths]

    def trace_id(self, traceparent: str) -> str:
        """The trace that a request with this one header belongs to."""
        return self.send(("traceparent", traceparent))[0].trace_id

    def members(self, *tracestates: str) -> dict[str, str]:
        """What the service makes of these `tracestate` headers, beside a valid `traceparent` that must be kept."""
        parent = ("traceparent", "00-12345678901234567890123456789012-1234567890123456-00")
        sent = self.send(parent, *(("tracestate", state) for state in tracestates))[0]
        assert sent.trace_id == "12345678901234567890123456789012"
        return sent.members


def _read(headers: Headers) -> Sent:
    parents = [value for name, value in headers if name == "traceparent"]
    assert len(parents) == 1, f"exactly one traceparent was expected: {parents}"
    match = _TRACEPARENT.fullmatch(parents[0])
    assert match is not None, parents[0]
    version, trace_id, parent_id, flags = match.groups()
    assert version == "00"
    assert int(trace_id, 16)
    assert int(parent_id, 16)
    states = [value for name, value in headers if name == "tracestate"]
    assert len(states) <= 1
    return Sent(trace_id, parent_id, int(flags, 16), "".join(states))


@pytest.fixture(scope="package")
def harness() -> Iterator[Harness]:
    """The service behind uvicorn on a free port of this machine, and the sender of requests to it."""
    application = Application()
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, log_level="warning", lifespan="off", ws="none")
    server = _Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="w3c-service")
    thread.start()
    assert server.ready.wait(30)
    yield Harness(application, listener.getsockname()[1])
    server.should_exit = True
    thread.join(30)
    listener.close()
    application.tracing.shutdown()
