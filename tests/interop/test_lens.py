"""Zipkin's own web interface, Lens, in a browser in front of the backend's Zipkin API."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path
from typing import Any

import pytest

from tests.support.backend import ask, running
from tests.support.recordings import files

ATTEMPTS = 3  # a browser on a busy machine may think that it is done before it is

Browse = Callable[[str], str]


class Lens:
    """Where Lens is, and the moments between which the recorded traces are, in milliseconds."""

    def __init__(self, url: str, spans: list[Any]) -> None:
        self.url = url
        times = [span["timestamp"] // 1_000 for span in spans if span.get("timestamp")]
        self.first, self.last = min(times) - 1_000, max(times) + 1_000


@pytest.fixture(scope="module")
def shown(lens: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lens]:
    """The backend with the recorded Zipkin traces, and Lens before it."""
    spans = [span for body in files("zipkin-*.json.gz").values() for span in json.loads(body)]
    with running(tmp_path_factory.mktemp("backend")) as backend:
        port = backend.settings.zipkin_port
        assert ask(port, "/api/v2/spans", json.dumps(spans).encode()).status == 202
        with ThreadingHTTPServer(("127.0.0.1", 0), pages(lens, port)) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield Lens(f"http://127.0.0.1:{server.server_port}/zipkin", spans)
            server.shutdown()
            thread.join()


def pages(folder: Path, port: int) -> type[BaseHTTPRequestHandler]:
    """What Zipkin's server does besides: files, its one page for every view, and behind them the API on a port."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0].removeprefix("/zipkin/")
            if path.startswith("api/") or path == "config.json":
                answer = ask(port, self.path)
                self.answer(answer.status, answer.headers["Content-Type"], answer.body)
            else:
                file = folder / path if (folder / path).is_file() else folder / "index.html"
                self.answer(200, guess_type(file)[0] or "application/octet-stream", file.read_bytes())

        def answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Nothing: the test says what is wrong."""

    return Pages


def seen(browse: Browse, url: str, *wanted: str) -> str:
    """The text and drawings of a page, with what is wanted on it."""
    for _ in range(ATTEMPTS):
        body = browse(url).partition("<body")[2]
        text = " ".join(re.sub(r"<(?!canvas)[^>]*>", " ", re.sub(r"(?s)<(style|script).*?</\1>", "", body)).split())
        if all(one in text for one in wanted):
            return text
    raise AssertionError(f"{wanted} is not all in {text}")


def test_a_search_finds_traces(shown: Lens, browse: Browse) -> None:
    """The list of traces: root, how many spans, how long."""
    url = f"{shown.url}/?lookback=range&startTs={shown.first}&endTs={shown.last}&limit=10"
    text = seen(browse, url, "coreSrv: get /login/tokenauth", "306.017s", "servicea: poll", "649.065ms")
    assert "routing: post /location/update/v4" in text


def test_a_trace_opens(shown: Lens, browse: Browse) -> None:
    """Its header, its waterfall, and the first span's details with annotations, tags and the broker."""
    text = seen(browse, f"{shown.url}/traces/0562809467078eab", "Total Spans 28", "Services 3", "Duration 649.065ms")
    assert text.count("serviceb: on-message") >= 2
    for one in ("Consumer Start", "kafka.topic messages", "Broker Address kafka"):
        assert one in text


def test_dependencies_are_drawn(shown: Lens, browse: Browse) -> None:
    """The graph is drawn where there are calls, and is not where there are none."""
    url = f"{shown.url}/dependency"
    assert "<canvas" in seen(browse, f"{url}?startTime={shown.first}&endTime={shown.last}", "<canvas", "Filter")
    assert "<canvas" not in seen(browse, f"{url}?startTime={shown.last + 10_000_000}&endTime={shown.last + 20_000_000}")
