"""A backend that fails as it is told to: a real HTTP server, and a real UDP socket."""

from __future__ import annotations

import gzip
import socket
import struct
import threading
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any, Literal

from typing_extensions import Self

from tests.support.decoding import ReceivedSpan, decode, decode_jaeger_datagram

Action = Literal["answer", "reset", "hang", "rubbish", "drip", "cut"]


@dataclass(frozen=True)
class Answer:
    """What one request gets.

    `answer` is `status` with `headers` and `body`. `reset` breaks the connection without an answer, `hang` says
    nothing until the server closes, `rubbish` sends bytes that are no HTTP, `drip` sends the status line a byte at a
    time and never ends it, `cut` takes the spans but breaks off in the body of the answer.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    action: Action = "answer"


@dataclass
class Request:
    """What came in: `body` is decompressed, `connection` the sender's port."""

    path: str
    headers: dict[str, str]
    body: bytes
    spans: list[ReceivedSpan]
    status: int
    at: float
    connection: int


class FaultServer:
    """Answers requests by a script, one entry each, and with `then` when it has run out; keeps what it accepted.

        with FaultServer([503, 503]) as server:
            provider = ZipkinProvider(ZipkinSettings(endpoint=server.url + "/api/v2/spans"))

    An entry is a status or an `Answer`. `max_spans` refuses requests with more spans by 413.
    """

    def __init__(
        self, script: Iterable[int | Answer] = (), *, then: int | Answer = 200, max_spans: int | None = None
    ) -> None:
        self.requests: list[Request] = []
        self.max_spans = max_spans
        self._script = deque(script)
        self._then = then
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.backend = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def then(self, answer: int | Answer) -> None:
        """Answer so from now on, when the script has run out."""
        with self._changed:
            self._then = answer

    @property
    def spans(self) -> list[ReceivedSpan]:
        """The spans of the requests that were answered by 2xx."""
        with self._changed:
            return [span for request in self.requests if request.status < 300 for span in request.spans]

    @property
    def deliveries(self) -> Counter[str]:
        """How often each span id was accepted."""
        return Counter(span.span_id for span in self.spans)

    def wait_for(self, spans: int = 0, *, requests: int = 0, timeout: float = 10.0) -> bool:
        """Wait until so many spans were accepted, and so many requests of any outcome came in."""
        deadline = monotonic() + timeout
        with self._changed:
            return self._changed.wait_for(
                lambda: (
                    len(self.requests) >= requests
                    and sum(len(r.spans) for r in self.requests if r.status < 300) >= spans
                ),
                deadline - monotonic(),
            )

    def _next(self, spans: int) -> Answer:
        if self.max_spans is not None and spans > self.max_spans:
            return Answer(413)
        with self._changed:
            entry = self._script.popleft() if self._script else self._then
        return Answer(entry) if isinstance(entry, int) else entry

    def _record(self, request: Request) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    backend: FaultServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        try:
            spans = decode(self.path, self.headers.get("Content-Type", ""), body)
        except Exception as error:
            self._finish(body, [], Answer(400, body=f"undecodable: {error!r}".encode()))
        else:
            self._finish(body, spans, self.server.backend._next(len(spans)))

    def _finish(self, body: bytes, spans: list[ReceivedSpan], answer: Answer) -> None:
        backend = self.server.backend
        status = answer.status if answer.action in ("answer", "cut") else 599
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.path, headers, body, spans, status, monotonic(), self.client_address[1])
        getattr(self, f"_{answer.action}")(answer, lambda: backend._record(request))

    def _answer(self, answer: Answer, record: Any) -> None:
        record()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def _reset(self, _: Answer, record: Any) -> None:
        record()
        # With a linger time of 0, closing sends RST.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _hang(self, _: Answer, record: Any) -> None:
        record()
        self.server.backend._closing.wait(60)
        self.close_connection = True

    def _rubbish(self, _: Answer, record: Any) -> None:
        record()
        self.wfile.write(b"\x00\xffthis is not HTTP\r\n\r\n")
        self.close_connection = True

    def _drip(self, _: Answer, record: Any) -> None:
        record()
        self.close_connection = True
        for byte in b"HTTP/1.1 200 " + b"O" * 600:
            if self.server.backend._closing.wait(0.05):
                return
            self.wfile.write(bytes((byte,)))

    def _cut(self, answer: Answer, record: Any) -> None:
        record()
        self.send_response(answer.status)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"only this")
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


class UdpSink:
    """A Jaeger agent's UDP port that keeps the datagrams and decodes them."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._receive, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # An empty datagram ends the thread; closing the socket under it would not.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        self._socket.close()

    def _receive(self) -> None:
        while datagram := self._socket.recv(1 << 16):
            with self._changed:
                self.datagrams.append(datagram)
                self._changed.notify_all()

    @property
    def spans(self) -> list[ReceivedSpan]:
        """The spans of all datagrams."""
        with self._changed:
            return [span for datagram in self.datagrams for span in decode_jaeger_datagram(datagram)]

    def wait_for(self, spans: int, timeout: float = 10.0) -> bool:
        """Wait until so many spans came in."""
        deadline = monotonic() + timeout
        while len(self.spans) < spans:
            with self._changed:
                if not self._changed.wait(deadline - monotonic()):
                    return False
        return True
