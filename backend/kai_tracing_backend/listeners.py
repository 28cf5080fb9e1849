"""What listens: each takes its port when it is made and serves between `start` and `stop`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from kai_tracing_backend.access.tls import Tls

__all__ = ["GRACE", "HttpListener", "Listener", "Port", "PortError"]

GRACE = 10
"""Seconds that running requests have at the end."""

_MAX_CONNECTIONS = 1_000  # at once, for each port; more get a 503


class PortError(Exception):
    """A port cannot be listened on; the message names its setting."""


@dataclass(frozen=True)
class Port:
    """Where to listen. `title` is what people call it, `name` what metrics do; `setting` is what to change."""

    host: str
    number: int
    name: str
    title: str
    setting: str

    def __str__(self) -> str:
        return f"[{self.host}]:{self.number}" if ":" in self.host else f"{self.host}:{self.number}"

    def bind(self, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """A socket that has the port. Raises PortError where it cannot be had."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        bound = socket.socket(family, kind)
        try:
            if kind is socket.SOCK_STREAM:  # over UDP it would let two processes share a port
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self.host, self.number))
            if kind is socket.SOCK_STREAM:
                bound.listen(1_024)
        except OSError as error:
            bound.close()
            raise self.error(error.strerror or str(error)) from error
        return bound

    def error(self, reason: str) -> PortError:
        """What to say when the port cannot be had."""
        return PortError(
            f"{self} cannot be listened on: {reason}. Set {self.setting} to another port, or to 0 to go without."
        )


class Listener(ABC):
    """One port and what serves it. `title` and `url` tell people what is there; metrics call it `name`."""

    def __init__(self, scheme: str, port: Port) -> None:
        self.title = port.title
        self.name = port.name
        self.url = f"{scheme}://{port}"

    @abstractmethod
    async def start(self) -> None:
        """Begin to serve."""

    @abstractmethod
    async def stop(self) -> None:
        """Take nothing new, finish what was begun, and give the port back."""

    @abstractmethod
    def close(self) -> None:
        """Give the port back; of one that was never started."""


class HttpListener(Listener):
    """An ASGI application on a port, encrypted where `tls` says how.

    Raises:
        PortError: the port is taken.
    """

    def __init__(self, port: Port, app: ASGIApp, tls: Tls | None = None) -> None:
        super().__init__("http" if tls is None else "https", port)
        self._socket = port.bind()
        self._server = _Server(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,  # its lines go where the others do
                access_log=False,
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_graceful_shutdown=GRACE,
                **(tls.uvicorn() if tls is not None else {}),
            )
        )

    async def start(self) -> None:
        """Begin to serve."""
        self._serving = asyncio.create_task(self._server.serve([self._socket]))

    async def stop(self) -> None:
        """Answer the requests that run, within `GRACE`, and give the port back."""
        self._server.should_exit = True
        await self._serving
        self.close()

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


class _Server(uvicorn.Server):
    """One of several in a process, which handles its signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
