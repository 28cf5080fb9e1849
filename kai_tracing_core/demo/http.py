"""A traced HTTP service and client, by hand, with nothing but the standard library.

It shows the two moves that every service needs: `extract_context` where a request comes in, `inject_context` where
one goes out.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kai_tracing_core import SpanKind, SpanStatusCode, initialize_tracing, tracing

__all__ = ["CallFailed", "Route", "call", "serve"]

Route = Callable[..., Any]
"""Answers a request with something that JSON can say; the query's parameters are its keywords."""


class CallFailed(Exception):
    """Another service answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status


def call(method: str, url: str, timeout: float = 10.0) -> Any:
    """Send a request under a client span and give what the answer's JSON says.

    Raises:
        CallFailed: the answer's status is 400 or more.
        OSError: there was no answer within `timeout` seconds.
    """
    to = urlsplit(url)
    attributes: dict[str, str | int] = {
        "http.request.method": method,
        "server.address": to.hostname or "",
        "server.port": to.port or 80,
        "url.full": url,
    }
    with tracing.span(method, kind=SpanKind.CLIENT, attributes=attributes) as span:
        headers: dict[str, str] = {}
        tracing.inject_context(span.trace_context, headers)
        connection = HTTPConnection(to.hostname or "", to.port, timeout=timeout)
        try:
            connection.request(method, to._replace(scheme="", netloc="").geturl(), headers=headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        span.set_attribute("http.response.status_code", response.status)
        if response.status >= 400:
            span.set_attribute("error.type", str(response.status))
            raise CallFailed(response.status, str(answer))
        return answer


def serve(routes: Mapping[str, Route]) -> None:
    """Answer requests to `routes` ("GET /products") on a free port of this machine, until standard input closes.

    The first line on standard output is the port, the last one what became of the spans.
    """
    initialize_tracing()  # would happen by itself, but then the first request would wait for it
    provider = tracing.provider
    server = _Server(("127.0.0.1", 0), routes)
    # Whoever started this process holds the other end: when that process ends, however it does, so does this one.
    threading.Thread(target=_shut_down_at_end_of_input, args=(server,), daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    with server:
        server.serve_forever(poll_interval=0.05)
    tracing.shutdown(5.0)
    sys.stdout.write(json.dumps(provider.stats()._asdict()) + "\n")


def _shut_down_at_end_of_input(server: ThreadingHTTPServer) -> None:
    sys.stdin.read()
    server.shutdown()


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], routes: Mapping[str, Route]) -> None:
        super().__init__(address, _Handler)
        self.routes = routes


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer()

    def do_POST(self) -> None:
        """Answer a POST."""
        self._answer()

    def _answer(self) -> None:
        target = urlsplit(self.path)
        name = f"{self.command} {target.path}"
        route = self.server.routes.get(name)
        attributes: dict[str, Any] = {
            "http.request.method": self.command,
            "url.path": target.path,
            "url.scheme": "http",
        }
        if route is not None:
            attributes["http.route"] = target.path
        parent = tracing.extract_context(self.headers.items())
        name = name if route is not None else self.command
        with tracing.span(name, kind=SpanKind.SERVER, parent=parent, attributes=attributes) as span:
            status, answer = 404, "there is nothing here"
            if route is not None:
                try:
                    status, answer = 200, route(**dict(parse_qsl(target.query)))
                except Exception as error:
                    # A server that fails still answers.
                    status, answer = 500, f"{type(error).__name__}: {error}"
                    span.record_exception(error)
                    span.set_status(SpanStatusCode.ERROR, answer)
                    span.set_attribute("error.type", type(error).__name__)
            span.set_attribute("http.response.status_code", status)
            self._send(status, json.dumps(answer).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """Say nothing: the traces tell it better."""
