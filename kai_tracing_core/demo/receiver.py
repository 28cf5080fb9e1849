"""Takes spans as Zipkin v2 JSON and keeps the last traces: a backend just large enough for the demo."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ReceivedSpan", "SpanReceiver"]

_TRACES = 1000
_BODY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as it arrived; `start` and `duration` are in microseconds, `start` since the epoch."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    service: str
    kind: str | None
    start: int
    duration: int
    tags: Mapping[str, str]

    @classmethod
    def of(cls, span: Mapping[str, Any]) -> ReceivedSpan:
        """From a span of Zipkin's v2 JSON; raises KeyError for what it must have and has not."""
        return cls(
            span["traceId"].zfill(32),
            span["id"],
            span.get("parentId"),
            span.get("name", ""),
            (span.get("localEndpoint") or {}).get("serviceName", ""),
            span.get("kind"),
            span.get("timestamp", 0),
            span.get("duration", 0),
            span.get("tags") or {},
        )

    @property
    def failed(self) -> bool:
        """Whether the span has the `error` tag."""
        return "error" in self.tags


class SpanReceiver:
    """A server on a free port of this machine, for `with`."""

    def __init__(self) -> None:
        self._traces: OrderedDict[str, list[ReceivedSpan]] = OrderedDict()
        self._arrived = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), self.add)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def settings(self) -> dict[str, str]:
        """The environment of those that send to it."""
        return {"TRACING_TYPE": "zipkin", "TRACING_ZIPKIN__ENDPOINT": self.endpoint}

    @property
    def endpoint(self) -> str:
        """The URL to post spans to."""
        return f"http://127.0.0.1:{self._server.server_port}/api/v2/spans"

    def add(self, spans: Sequence[ReceivedSpan]) -> None:
        """Keep spans; the oldest traces make room."""
        with self._arrived:
            for span in spans:
                self._traces.setdefault(span.trace_id, []).append(span)
            while len(self._traces) > _TRACES:
                self._traces.popitem(last=False)
            self._arrived.notify_all()

    def wait(
        self, trace_id: str, whole: Callable[[Sequence[ReceivedSpan]], bool], timeout: float
    ) -> list[ReceivedSpan]:
        """The trace's spans as soon as `whole` holds for them, or what there is after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._arrived:
            while True:
                spans = list(self._traces.get(trace_id, ()))
                left = deadline - time.monotonic()
                if left <= 0 or whole(spans):
                    return spans
                self._arrived.wait(left)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], add: Callable[[Sequence[ReceivedSpan]], None]) -> None:
        super().__init__(address, _Handler)
        self.add = add


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self) -> None:
        """Take a batch: 202, or 400 for what is none."""
        try:
            self.server.add([ReceivedSpan.of(span) for span in json.loads(self._body())])
            status = 202
        except (KeyError, TypeError, ValueError, AttributeError, zlib.error):
            self.close_connection = True
            status = 400
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _body(self) -> bytes:
        length = int(self.headers["Content-Length"])
        if not 0 <= length <= _BODY_BYTES:
            raise ValueError("the body is too long")
        body = self.rfile.read(length)
        if self.headers.get("Content-Encoding") == "gzip":
            return zlib.decompressobj(31).decompress(body, _BODY_BYTES)
        return body

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """Say nothing: the terminal is for the traces."""
