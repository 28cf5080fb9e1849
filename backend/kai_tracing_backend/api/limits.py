"""What queries may take: how many run at once, how long each does, and that none goes on for a client that has left."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kai_tracing_backend.api.parameters import ParameterError, duration
from kai_tracing_backend.storage.cancellation import Cancellation

__all__ = ["QueryLimits"]

_SECOND = 1_000_000_000
_WAITING = 4  # for each query that may run, so many may wait for their turn
_RETRY = {"Retry-After": "1"}
_FREE = ("/healthz", "/readyz", "/metrics", "/health", "/info", "/api/echo")
"""What is asked exactly when there is much to do."""


class QueryLimits:
    """ASGI: each `GET` is a query; the store's reads that it makes are bounded, whoever's API it is.

    `at_once` of them run, others wait for their turn; when too many do, or one has waited for its whole time, the
    answer is 503 with Retry-After. A query has `timeout` seconds, or what its parameter `timeout` says if that is less,
    and may read `max_rows`. When its client closes the connection its reads end at once.
    """

    def __init__(self, app: ASGIApp, *, at_once: int, timeout: float, max_rows: int) -> None:
        self._app = app
        self._at_once = at_once
        self._timeout = timeout
        self._max_rows = max_rows
        self._turns = asyncio.Semaphore(at_once)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or scope["path"] in _FREE:
            await self._app(scope, receive, send)
            return
        try:
            timeout = min(self._timeout, _asked_for(scope) or self._timeout)
        except ParameterError as error:
            refusal = JSONResponse({"error": str(error), "parameter": error.parameter}, HTTPStatus.BAD_REQUEST)
            await refusal(scope, receive, send)
            return
        if not await self._turn(timeout):
            busy = {"error": f"more than {self._at_once} queries run already; come again in a moment"}
            await JSONResponse(busy, HTTPStatus.SERVICE_UNAVAILABLE, _RETRY)(scope, receive, send)
            return
        try:
            with Cancellation(timeout=timeout, max_rows=self._max_rows) as cancellation:
                connection = _Connection(receive, cancellation)
                try:
                    await self._app(scope, connection.receive, send)
                finally:
                    await connection.close()
        finally:
            self._turns.release()

    async def _turn(self, timeout: float) -> bool:
        """Whether it is the request's turn, now or before `timeout` seconds are over."""
        if self._turns.locked() and self._waiting >= _WAITING * self._at_once:
            return False
        self._waiting += 1
        try:
            await asyncio.wait_for(self._turns.acquire(), timeout)
        except asyncio.TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True


def _asked_for(scope: Scope) -> float | None:
    """The parameter `timeout` in seconds, if there is one."""
    said = parse_qs(scope["query_string"].decode("latin-1")).get("timeout")
    if not said:
        return None
    seconds = duration("timeout", said[-1]) / _SECOND
    if not seconds:
        raise ParameterError("timeout", "must be more than 0")
    return seconds


class _Connection:
    """Hears when the client of a request without a body goes away, while nobody else listens."""

    def __init__(self, receive: Receive, cancellation: Cancellation) -> None:
        self._received = False
        self._gone = asyncio.Event()
        self._listening = asyncio.create_task(self._listen(receive, cancellation))

    async def _listen(self, receive: Receive, cancellation: Cancellation) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        cancellation.cancel()
        self._gone.set()

    async def receive(self) -> Message:
        """What the application hears: an empty body, and in the end that the client is gone."""
        if not self._received:
            self._received = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def close(self) -> None:
        """Listen no longer."""
        self._listening.cancel()
        await asyncio.wait([self._listening])
