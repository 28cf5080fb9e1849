"""Web interfaces of others in front of the backend's API, and what a browser shows of them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path

from tests.support.backend import ask

ATTEMPTS = 3  # a browser on a busy machine may think that it is done before it is

Browse = Callable[[str], str]


@contextmanager
def serving(folder: Path, port: int, prefix: str = "") -> Iterator[str]:
    """Where a web interface is whose files are in a folder; behind it is the API on a port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _pages(folder, port, prefix)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{prefix}"
        finally:
            server.shutdown()
            thread.join()


def _pages(folder: Path, port: int, prefix: str) -> type[BaseHTTPRequestHandler]:
    """What the system's own server does besides: files, and one page for every view."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0].removeprefix(f"{prefix}/")
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
