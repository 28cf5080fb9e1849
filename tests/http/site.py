"""A real HTTP server to call: redirects, retries, resets, streams, what a test tells it."""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import Self

Answer = int | str | tuple[int, Mapping[str, str]]
"""A status, a status with headers, or `reset`: break the connection."""


@dataclass
class Received:
    """A request as it came over the wire."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


class Site(ThreadingHTTPServer):
    """Answers by `script`, one entry per request, then 200 `ok`; a few paths have an answer of their own.

    `/redirect` leads to `/ok`, `/stream` sends two parts, the second when `gate` is set, `/hang` answers when it is,
    `/cut` breaks off in the middle of its body, `/big` sends a megabyte.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: deque[Answer] = deque()
        self.requests: list[Received] = []
        self.gate = threading.Event()
        self.asked = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def port(self) -> int:
        """Its port."""
        return self.server_port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def _handle(self) -> None:
        site = self.server
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self._body(headers)
        site.requests.append(Received(self.command, self.path, headers, body, self.client_address[1]))
        site.asked.set()
        path = self.path.partition("?")[0]
        if path == "/redirect":
            return self._answer(302, {"Location": "/ok"})
        if path == "/stream":
            return self._stream()
        if path == "/cut":
            self._head(200, {"Content-Length": "100"})
            self.wfile.write(b"some")
            self.close_connection = True
            return None
        if path == "/big":
            return self._answer(200, {}, b"x" * 2**20)
        answer = site.script.popleft() if site.script else 200
        if answer == "reset":
            return self._reset()
        if path == "/hang" or answer == "hang":
            site.gate.wait(20)
            answer = 200
        status, extra = answer if isinstance(answer, tuple) else (int(answer), {})
        return self._answer(status, extra)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = do_BREW = _handle  # noqa: N815 - its names

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes = b"ok") -> None:
        self._head(status, {"Content-Length": str(len(body)), **headers})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _stream(self) -> None:
        self._head(200, {"Transfer-Encoding": "chunked"})
        self.wfile.write(b"5\r\nfirst\r\n")
        self.wfile.flush()
        self.server.gate.wait(20)
        self.wfile.write(b"4\r\nlast\r\n0\r\n\r\n")

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: Any) -> None:
        pass
