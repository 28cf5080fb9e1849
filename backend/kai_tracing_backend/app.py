"""The backend put together: store, queue, receivers and API, each on its port."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from starlette.types import ASGIApp

from kai_tracing_backend.api.app import api_app
from kai_tracing_backend.collector.http import otlp_app, zipkin_app
from kai_tracing_backend.collector.intake import Intake
from kai_tracing_backend.collector.metering import Metered
from kai_tracing_backend.collector.otlp_grpc import OtlpGrpcListener
from kai_tracing_backend.listeners import HttpListener, Listener, Port
from kai_tracing_backend.metrics import Metrics
from kai_tracing_backend.settings import BackendSettings, option, variable
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.tenants import DEFAULT_TENANT, TenantMiddleware, Tenants

__all__ = ["Backend"]


class Backend:
    """The process: made with everything open and its ports taken, `run` serves until it is stopped.

    Raises:
        PortError: a port is taken.
        StoreError: the data folder cannot be used.
    """

    def __init__(self, settings: BackendSettings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.tenants = Tenants(self._open_store, settings.queue_bytes, metrics=self.metrics)
        self.metrics.watch("store_bytes", "Bytes of the store on disk", ["tenant"], self._store_bytes)
        self.listeners: list[Listener] = []
        self._stopped = asyncio.Event()
        try:
            self.listeners.extend(self._listeners())
            self.tenants.get()
        except Exception:
            self.close()
            raise

    def _listeners(self) -> Iterator[Listener]:
        """Everything that is not switched off."""
        intake = Intake()
        if port := self._port("api_port"):
            yield self._http(port, api_app())
        if port := self._port("otlp_http_port"):
            yield self._http(port, otlp_app(intake), port.name)
        if port := self._port("otlp_grpc_port"):
            yield OtlpGrpcListener(port, intake, self.tenants)
        if port := self._port("zipkin_port"):
            yield self._http(port, zipkin_app(intake), port.name)

    def _port(self, name: str) -> Port | None:
        number, title = getattr(self.settings, name), type(self.settings).model_fields[name].title
        setting = f"{variable(name)} ({option(name)})"
        return Port(self.settings.host, number, name.removesuffix("_port"), title or name, setting) if number else None

    def _http(self, port: Port, app: ASGIApp, receiver: str | None = None) -> HttpListener:
        return HttpListener(port, Metered(TenantMiddleware(app, self.tenants), self.metrics, receiver))

    def _folder(self, tenant: str) -> Path:
        return self.settings.data if tenant == DEFAULT_TENANT else self.settings.data / "tenants" / tenant

    def _open_store(self, tenant: str) -> DuckDBStore:
        return DuckDBStore(self._folder(tenant), memory_limit=self.settings.memory_limit)

    def _store_bytes(self) -> list[tuple[tuple[str], float]]:
        return [((tenant.name,), _size(self._folder(tenant.name))) for tenant in self.tenants.opened()]

    async def run(self) -> None:
        """Serve until `stop`; then finish what was begun, write what waits and close the store."""
        started: list[Listener] = []
        try:
            for listener in self.listeners:
                await listener.start()
                started.append(listener)
            await self._stopped.wait()
        finally:
            await asyncio.gather(*(listener.stop() for listener in started))
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
        for listener in self.listeners:
            listener.close()
        self.tenants.close()


def _size(folder: Path) -> float:
    """Bytes of the files in a folder; one that is deleted meanwhile has none."""
    size = 0
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            size += path.stat().st_size if path.is_file() else 0
    return size
