"""A trace backend that runs in a thread of the test, and requests to it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kai_tracing_backend.app import Backend
from kai_tracing_backend.listeners import PortError
from kai_tracing_backend.settings import BackendSettings
from prometheus_client.parser import text_string_to_metric_families

JSON = "application/json"
PROTOBUF = "application/x-protobuf"


def free_ports(count: int) -> list[int]:
    """Ports that nobody has."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def settings_in(folder: Path, **changes: Any) -> BackendSettings:
    """Settings with a folder, a free port for everything that listens, and these changes."""
    names = [name for name in BackendSettings.ports() if name not in changes]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    return BackendSettings(**{"data": folder / "data", **ports, **changes})


@contextmanager
def running(folder: Path, **changes: Any) -> Iterator[Backend]:
    """A backend that runs in a thread of its own, with these settings."""
    ready = threading.Event()
    made: list[Any] = []

    async def run() -> None:
        try:
            made.extend((_start(folder, changes), asyncio.get_running_loop()))
        finally:
            ready.set()
        await made[0].run()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(30)
    assert made, "the backend did not start"
    assert made[0].started.wait(30)
    try:
        yield made[0]
    finally:
        made[1].call_soon_threadsafe(made[0].stop)
        thread.join(30)
    assert not thread.is_alive()


def _start(folder: Path, changes: dict[str, Any]) -> Backend:
    """A backend; with other ports where somebody took one in the meantime."""
    for _ in range(4):
        with suppress(PortError):
            return Backend(settings_in(folder, **changes))
    return Backend(settings_in(folder, **changes))


class Answer:
    """What a server answered."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    port: int, path: str, body: bytes | None = None, kind: str = JSON, *, method: str | None = None, **headers: str
) -> Answer:
    """One request; an error status is an answer, too."""
    names = {"Content-Type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, names, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


def scraped(port: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What `/metrics` says, by name and labels, without the prefix."""
    answer = ask(port, "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name.removeprefix("kai_tracing_backend_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }
