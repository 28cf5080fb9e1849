"""kai-tracing's trace backend, where it is installed, as a process of the demo.

`python -m kai_tracing_core.demo.backend OPTION …` is `kai-tracing serve OPTION …` with no ports but those that are
given, until standard input closes: when the demo ends, however it does, so does the backend.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import click

from kai_tracing_core.demo.receiver import ReceivedSpan
from kai_tracing_core.plugins import extensions, names

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BackendError", "TraceBackend", "installed"]

_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 15.0
_POLL = 0.05
_ATTEMPTS = 3
_API, _OTLP, _ZIPKIN = 16686, 4318, 9411
_KINDS = (None, None, "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_ERROR = 2


class BackendError(Exception):
    """The backend did not start; the message says what it said."""


def installed() -> bool:
    """Whether there is a backend to start."""
    return "backend" in names("commands")


class TraceBackend:
    """A backend on this machine, for `with`: on the standard ports where they are free, its data gone at the end.

    Raises:
        BackendError: it does not start.
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._folder = tempfile.TemporaryDirectory(prefix="kai-tracing-demo-", ignore_cleanup_errors=True)
        self._ask = build_opener(ProxyHandler({})).open

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self._api}"

    @property
    def moved(self) -> bool:
        """Whether its API is elsewhere than where commands look."""
        return self._api != _API

    @property
    def settings(self) -> dict[str, str]:
        """The environment of those that send to it."""
        base = f"http://127.0.0.1:{self._receiver}"
        if self._provider == "zipkin":
            return {"TRACING_TYPE": "zipkin", "TRACING_ZIPKIN__ENDPOINT": f"{base}/api/v2/spans"}
        return {"TRACING_TYPE": "opentelemetry", "TRACING_OPENTELEMETRY__ENDPOINT": base}

    def wait(
        self, trace_id: str, whole: Callable[[Sequence[ReceivedSpan]], bool], timeout: float
    ) -> list[ReceivedSpan]:
        """The trace's spans as soon as `whole` holds for them, or what there is after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            document = self._get(f"/api/v1/traces/{trace_id}")
            spans = [_received(span) for span in document["spans"]] if document else []
            if whole(spans) or time.monotonic() > deadline:
                return spans
            time.sleep(_POLL)

    def search(self, query: str, limit: int) -> list[str]:
        """The ids of the traces that the query finds, newest first."""
        document = self._get(f"/api/v1/search?{urlencode({'q': query, 'limit': limit, 'start': 'now-1d'})}")
        return [trace["traceId"] for trace in document["traces"]] if document else []

    def _get(self, path: str) -> Any:
        """What the API answers; None where it knows nothing of that."""
        try:
            with self._ask(self.url + path, timeout=_START_TIMEOUT) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise BackendError(f"the backend answers {error.code}: {error.read()[:500].decode()}") from error

    def __enter__(self) -> Self:
        try:
            self._start_somewhere()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()
        self._folder.cleanup()

    def _start_somewhere(self) -> None:
        for attempt in range(_ATTEMPTS):  # somebody may take a port that was free
            self._start(standard=attempt == 0)
            if self._ready():
                return
            self._stop()
        raise BackendError(f"the trace backend does not start: {self._said()}")

    def _start(self, *, standard: bool) -> None:
        self._api = _free_port(_API if standard else 0)
        self._receiver = _free_port((_ZIPKIN if self._provider == "zipkin" else _OTLP) if standard else 0)
        receiver = "zipkin" if self._provider == "zipkin" else "otlp-http"
        ports = [f"--api-port={self._api}", f"--{receiver}-port={self._receiver}"]
        with (Path(self._folder.name) / "log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  # this interpreter, our own module, no shell
                [sys.executable, "-m", __name__, f"--data={self._folder.name}/data", *ports],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._folder.name,
                env={name: value for name, value in os.environ.items() if not name.upper().startswith("TRACING_")},
                start_new_session=True,  # Ctrl-C is for the demo, which tells the others
            )

    def _ready(self) -> bool:
        deadline = time.monotonic() + _START_TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                # Else it might be another's answer, at a port that the process could not have.
                if "listens on" in self._said():
                    with self._ask(f"{self.url}/readyz", timeout=_START_TIMEOUT):
                        return True
            except OSError:  # pragma: no cover - it says so just before its ports answer
                pass
            time.sleep(_POLL)
        return False

    def _said(self) -> str:
        return (Path(self._folder.name) / "log").read_text("utf-8", "replace").strip()[-2000:]

    def _stop(self) -> None:
        process = getattr(self, "_process", None)
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        process.stdin = None
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port(wanted: int) -> int:
    """The wanted port of this machine if it is free, else any that is."""
    for number in (wanted, 0):
        with socket.socket() as one:
            if os.name == "posix":  # as servers do; elsewhere it would take a port from somebody
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", number))
            except OSError:
                continue
            found: int = one.getsockname()[1]
            return found
    raise OSError("this machine has no free port")  # pragma: no cover - none has 60,000 in use


def _received(document: Mapping[str, Any]) -> ReceivedSpan:
    """A span of the API's OTLP."""
    tags = {entry["key"]: str(next(iter(entry["value"].values()), "")) for entry in document["attributes"]}
    if document["status"]["code"] == _ERROR:
        tags["error"] = document["status"]["message"] or tags.get("error.type", "failed")
    start = int(document["startTimeUnixNano"])
    return ReceivedSpan(
        document["traceId"],
        document["spanId"],
        document["parentSpanId"] or None,
        document["name"],
        document["service"],
        _KINDS[document["kind"]],
        start // 1_000,
        (int(document["endTimeUnixNano"]) - start) // 1_000,
        tags,
    )


def _serve_until_input_ends() -> None:
    def watch() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    commands = click.Group()
    extensions("commands").call_each("kai_tracing_register_commands", cli=commands)
    serve, given = commands.commands["serve"], sys.argv[1:]
    options = [name for made in serve.get_params(click.Context(serve)) for name in made.opts if name.endswith("-port")]
    off = [f"{name}=0" for name in options if not any(option.startswith(f"{name}=") for option in given)]
    serve([*given, *off])


if __name__ == "__main__":
    _serve_until_input_ends()
