"""ASGI: counts the requests of a receiver, and times the answers of the API."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kai_tracing_backend.metrics import Metrics
from kai_tracing_core.http.routes import asgi_route

__all__ = ["Metered"]


class Metered:
    """Counts what a receiver gets and answers; without a receiver's name, how long each of the API's routes takes.

    Stands outside of `TenantMiddleware`, so that what that refuses is counted, too. Handlers find the receiver's name
    in `request.state.receiver` and the metrics in `request.state.metrics`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, receiver: str | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._receiver = receiver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["metrics"] = self._metrics
        if self._receiver is not None:
            state["receiver"] = self._receiver
        status, size, began = 500, 0, time.perf_counter()

        async def received() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            return message

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])  # an HTTPStatus has another text on Python 3.10
            await send(message)

        try:
            await self._app(scope, received, sent)
        finally:
            if self._receiver is not None:
                self._count(scope, self._receiver, status, size)
            else:
                seconds = time.perf_counter() - began
                self._metrics.queries.labels(asgi_route(scope) or "other", str(status)).observe(seconds)

    def _count(self, scope: Scope, receiver: str, status: int, size: int) -> None:
        tenant = scope["state"].get("tenant")
        label = self._metrics.tenant(tenant.name) if tenant is not None else ""
        self._metrics.requests.labels(receiver, label, str(status)).inc()
        self._metrics.bytes.labels(receiver, label).inc(size)
