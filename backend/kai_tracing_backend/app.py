"""The backend put together: store, queue, receivers and API, each on its port."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from kai_tracing_backend.api.app import api_app
from kai_tracing_backend.collector.http import otlp_app, zipkin_app
from kai_tracing_backend.collector.intake import Intake
from kai_tracing_backend.collector.metering import Metered
from kai_tracing_backend.metrics import Metrics
from kai_tracing_backend.settings import BackendSettings
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.tenants import DEFAULT_TENANT, TenantMiddleware, Tenants

__all__ = ["Backend", "PortError"]

_MAX_CONNECTIONS = 1_000  # at once, for each port; more get a 503
_RECEIVERS = {"otlp_http_port": "otlp_http", "zipkin_port": "zipkin"}  # what metrics call them
_GRACE = 10  # seconds that running requests have at the end


class PortError(Exception):
    """A port cannot be listened on; the message names its setting."""


class _Server(uvicorn.Server):
    """One of several in a process, which handles its signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Backend:
    """The process: made with everything open and its ports taken, `run` serves until it is stopped.

    Raises:
        PortError: a port is taken.
        StoreError: the data folder cannot be used.
    """

    def __init__(self, settings: BackendSettings) -> None:
        self.settings = settings
        self._stopped = asyncio.Event()
        with contextlib.ExitStack() as undo:
            self._sockets = {
                name: undo.enter_context(_listen(settings, name))
                for name in ("api_port", "otlp_http_port", "zipkin_port")
                if getattr(settings, name)
            }
            self.metrics = Metrics()
            self.tenants = Tenants(self._open_store, settings.queue_bytes, metrics=self.metrics)
            self.metrics.watch("store_bytes", "Bytes of the store on disk", ["tenant"], self._store_bytes)
            self.tenants.get()
            undo.pop_all()

    def _folder(self, tenant: str) -> Path:
        return self.settings.data if tenant == DEFAULT_TENANT else self.settings.data / "tenants" / tenant

    def _open_store(self, tenant: str) -> DuckDBStore:
        return DuckDBStore(self._folder(tenant), memory_limit=self.settings.memory_limit)

    def _store_bytes(self) -> list[tuple[tuple[str], float]]:
        return [((tenant.name,), _size(self._folder(tenant.name))) for tenant in self.tenants.opened()]

    async def run(self) -> None:
        """Serve until `stop`; then finish what was begun, write what waits and close the store."""
        intake = Intake()
        apps = {"api_port": api_app(), "otlp_http_port": otlp_app(intake), "zipkin_port": zipkin_app(intake)}
        servers = {
            name: _server(Metered(TenantMiddleware(apps[name], self.tenants), self.metrics, _RECEIVERS.get(name)))
            for name in self._sockets
        }
        tasks = [asyncio.create_task(server.serve([self._sockets[name]])) for name, server in servers.items()]
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for server in servers.values():
                server.should_exit = True
            await asyncio.gather(*tasks)
            stopped.cancel()
            await asyncio.to_thread(self.close)

    def stop_on_signals(self) -> None:
        """Take SIGINT and SIGTERM for `stop`; on the main thread."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows has KeyboardInterrupt only
                loop.add_signal_handler(number, self.stop)

    def stop(self) -> None:
        """Make `run` return; on the event loop's thread."""
        self._stopped.set()

    def close(self) -> None:
        """Write what waits, and let go of ports and files; `run` does it at its end."""
        for listener in self._sockets.values():
            listener.close()
        self.tenants.close()


def _size(folder: Path) -> float:
    """Bytes of the files in a folder; one that is deleted meanwhile has none."""
    size = 0
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            size += path.stat().st_size if path.is_file() else 0
    return size


def _listen(settings: BackendSettings, name: str) -> socket.socket:
    port = getattr(settings, name)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, port))
        listener.listen(1_024)
    except OSError as error:
        listener.close()
        setting = f"TRACING_BACKEND_{name.upper()}"
        raise PortError(
            f"{settings.host}:{port} cannot be listened on: {error.strerror}. Set {setting} "
            f"(--{name.replace('_', '-')}) to another port, or to 0 to go without."
        ) from error
    return listener


def _server(app: ASGIApp) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_level="warning",
            access_log=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_graceful_shutdown=_GRACE,
        )
    )
