"""The backend put together: store, queue, receivers and API, each on its port."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from starlette.types import ASGIApp

from kai_tracing_backend.access.binding import check_address, is_local
from kai_tracing_backend.access.cors import CorsMiddleware, Origins
from kai_tracing_backend.access.gate import Gate
from kai_tracing_backend.access.guard import Guard
from kai_tracing_backend.access.issuing import Issuer
from kai_tracing_backend.access.middleware import (
    AccessMiddleware,
    Policy,
    Refusal,
    api_policy,
    receiver_policy,
    refuse,
    zipkin_policy,
)
from kai_tracing_backend.access.tls import Tls
from kai_tracing_backend.access.tokens import TokenFile
from kai_tracing_backend.api import zipkin
from kai_tracing_backend.api.app import api_app
from kai_tracing_backend.api.limits import QueryLimits
from kai_tracing_backend.collector.http import jaeger_app, otlp_app, otlp_refusal, zipkin_app
from kai_tracing_backend.collector.intake import Intake
from kai_tracing_backend.collector.jaeger_udp import JaegerUdpListener
from kai_tracing_backend.collector.metering import Metered
from kai_tracing_backend.collector.otlp_grpc import OtlpGrpcListener
from kai_tracing_backend.collector.pipeline import Pipelines
from kai_tracing_backend.collector.strategies import sampling_app, sampling_routes
from kai_tracing_backend.listeners import HttpListener, Listener, Port
from kai_tracing_backend.metrics import Metrics
from kai_tracing_backend.retention.archive import Archive
from kai_tracing_backend.retention.keeper import Keeper, tenant_names
from kai_tracing_backend.retention.source import PolicySource
from kai_tracing_backend.sampling.strategies import create_strategies
from kai_tracing_backend.sampling.tail_settings import load_tail
from kai_tracing_backend.self_tracing import UNTRACED, self_tracing
from kai_tracing_backend.settings import BackendSettings, option, variable
from kai_tracing_backend.storage.contract import StoreError
from kai_tracing_backend.storage.duckdb.store import DuckDBStore
from kai_tracing_backend.storage.reserve import Reserve
from kai_tracing_backend.tenants import DEFAULT_TENANT, Tenants
from kai_tracing_core.http.asgi import TracingMiddleware

__all__ = ["Backend"]


class Backend:
    """The process: made with everything open and its ports taken, `run` serves until it is stopped.

    Raises:
        PortError: a port is taken.
        StoreError: the data folder cannot be used.
        TokenFileError: the tokens cannot be read.
        PolicyError: the retention policy cannot be used.
        ConfigurationError: others could reach it without a token, or a file that a setting names is wrong.
    """

    def __init__(self, settings: BackendSettings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        file = TokenFile(settings.token_file)
        guard = Guard(file, settings.used_file, self._count_denied)
        self._issuer = Issuer(file, guard)
        self._tls = Tls.of(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        check_address(
            settings.host,
            guard,
            insecure=settings.insecure,
            encrypted=self._tls is not None,
            udp_tenant=settings.udp_tenant,
        )
        self.strategies = create_strategies(settings.sampling_strategies, settings.sampling_target)
        stages = Pipelines(self._folder, self.metrics, load_tail(settings.tail_sampling), self.strategies)
        self.tenants = Tenants(self._open_store, settings.queue_bytes, metrics=self.metrics, build=stages.build)
        self.tracing = self_tracing(self.tenants) if settings.self_tracing else None
        self.metrics.watch("store_bytes", "Bytes of the store on disk", ["tenant"], self._store_bytes)
        self._gate = Gate(guard, self.tenants, local=is_local(settings.host), allowed=settings.allowed_hosts)
        self.keeper = self._make_keeper()
        self.listeners: list[Listener] = []
        self.started = threading.Event()
        """Whether `run` has come so far that everything is there; for other threads."""
        self._stopped = asyncio.Event()
        try:
            self.listeners.extend(self._listeners())
            self.tenants.get()
        except Exception:
            with contextlib.suppress(StoreError):  # what is left over at the end is not why it cannot start
                self.close()
            raise

    def _listeners(self) -> Iterator[Listener]:
        """Everything that is not switched off."""
        intake = Intake(Reserve(self.settings.data, self.settings.disk_reserve))
        origins = Origins(self.settings.cors_origins)
        if port := self._port("api_port"):
            api = api_app()
            api.state.keeper, api.state.issuer = self.keeper, self._issuer
            yield self._http(port, self._limited(api), api_policy)
        if port := self._port("otlp_http_port"):
            yield self._http(port, otlp_app(intake), receiver_policy, port.name, otlp_refusal, origins)
        if port := self._port("otlp_grpc_port"):
            yield OtlpGrpcListener(port, intake, self._gate, self._tls, self.tracing)
        if port := self._port("zipkin_port"):
            app = self._limited(zipkin_app(intake, zipkin.routes()))
            yield self._http(port, app, zipkin_policy, port.name, origins=origins)
        if port := self._port("jaeger_http_port"):
            app = jaeger_app(intake, sampling_routes(self.strategies))
            yield self._http(port, app, receiver_policy, port.name)
        for name, compact in (("jaeger_compact_port", True), ("jaeger_binary_port", False)):
            if port := self._port(name):
                yield JaegerUdpListener(port, intake, self._gate, compact=compact, tenant=self.settings.udp_tenant)
        if port := self._port("sampling_port"):
            yield self._http(port, sampling_app(self.strategies), receiver_policy)

    def _make_keeper(self) -> Keeper:
        data = self.settings.data
        return Keeper(
            self.tenants,
            PolicySource(self.settings.retention_file),
            Archive(self.settings.archive or data / "archive"),
            self.metrics,
            lambda: tenant_names(data, DEFAULT_TENANT),
            self.settings.retention_interval,
        )

    def _limited(self, app: ASGIApp) -> ASGIApp:
        settings = self.settings
        return QueryLimits(app, at_once=settings.queries, timeout=settings.query_timeout, max_rows=settings.query_rows)

    def _port(self, name: str) -> Port | None:
        number, title = getattr(self.settings, name), type(self.settings).declared[name].title
        setting = f"{variable(name)} ({option(name)})"
        return Port(self.settings.host, number, name.removesuffix("_port"), title or name, setting) if number else None

    def _http(
        self,
        port: Port,
        app: ASGIApp,
        policy: Policy,
        receiver: str | None = None,
        refusal: Refusal = refuse,
        origins: Origins | None = None,
    ) -> HttpListener:
        guarded: ASGIApp = AccessMiddleware(app, self._gate, policy, refusal, origins)
        if origins is not None:
            guarded = CorsMiddleware(guarded, origins)
        metered: ASGIApp = Metered(guarded, self.metrics, receiver)
        if self.tracing is not None:
            metered = TracingMiddleware(metered, service=self.tracing, excluded=UNTRACED)
        return HttpListener(port, metered, self._tls)

    def _count_denied(self, reason: str) -> None:
        self.metrics.denied.labels(reason).inc()

    def _folder(self, tenant: str) -> Path:
        return self.settings.data if tenant == DEFAULT_TENANT else self.settings.data / "tenants" / tenant

    def _open_store(self, tenant: str) -> DuckDBStore:
        return DuckDBStore(self._folder(tenant), memory_limit=self.settings.memory_limit)

    def _store_bytes(self) -> list[tuple[tuple[str], float]]:
        return [((tenant.name,), _size(self._folder(tenant.name))) for tenant in self.tenants.opened()]

    async def run(self) -> None:
        """Serve until `stop`; then finish what was begun, write what waits and close the store.

        Raises:
            StoreError: something that was acknowledged waits for the next process, since it cannot be written.
        """
        started: list[Listener] = []
        try:
            for listener in self.listeners:
                await listener.start()
                started.append(listener)
            self.keeper.start()
            self.started.set()
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
        """Write what waits, and let go of ports and files; `run` does it at its end, and raises what this does."""
        for listener in self.listeners:
            listener.close()
        self.keeper.stop()
        if self.tracing is not None:
            self.tracing.shutdown()
        self.tenants.close()


def _size(folder: Path) -> float:
    """Bytes of the files in a folder; one that is deleted meanwhile has none."""
    size = 0
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            size += path.stat().st_size if path.is_file() else 0
    return size
