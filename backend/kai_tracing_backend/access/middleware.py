"""Every request over HTTP passes here first: whose it is, and whether it may be answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from kai_tracing_backend.access.cors import Origins
from kai_tracing_backend.access.gate import Gate
from kai_tracing_backend.access.guard import DeniedError, Grant
from kai_tracing_backend.access.tokens import Scope
from kai_tracing_backend.storage.contract import StoreError

__all__ = [
    "AccessMiddleware",
    "Policy",
    "Refusal",
    "api_policy",
    "grant_of",
    "receiver_policy",
    "refuse",
    "requires",
    "zipkin_policy",
]

Policy = Callable[[str, str], "Scope | None"]
"""By method and path, the scope that is needed; None where no token is."""

Refusal = Callable[[Headers, DeniedError], Response]
"""What a receiver answers to a request that is refused, by the request's headers."""

_READING = frozenset(("GET", "HEAD", "OPTIONS"))
_READING_POSTS = frozenset(("/api/v1/query/validate",))
"""Questions that are too long for an address."""
_OF_SENDERS = "/api/v1/sampling/"
_OF_ADMINS = "/api/v1/tokens/"
_PUBLIC = frozenset(("/", "/api/v1/docs", "/api/v1/openapi.json", "/healthz", "/readyz"))


def api_policy(method: str, path: str) -> Scope | None:
    """Of the API's port: to read needs `query`, to change anything and to see tokens `admin`; for its health, nothing.

    What senders tell one another of their sampling needs `ingest`.

    A route may want more with `requires`.
    """
    if path == "/metrics":
        return Scope.METRICS
    if path.startswith(_OF_SENDERS):
        return Scope.INGEST
    if (method not in _READING and path not in _READING_POSTS) or f"{path}/".startswith(_OF_ADMINS):
        return Scope.ADMIN
    return None if path in _PUBLIC else Scope.QUERY


def receiver_policy(method: str, path: str) -> Scope:
    """Of a receiver's port: all of it is for senders."""
    return Scope.INGEST


def zipkin_policy(method: str, path: str) -> Scope:
    """Of Zipkin's port: who posts sends spans, the others read."""
    return Scope.QUERY if method in _READING else Scope.INGEST


def refuse(headers: Headers, error: DeniedError) -> Response:
    """A refusal as the API says its errors."""
    return JSONResponse({"error": error.message}, error.status, error.headers)


class AccessMiddleware:
    """ASGI: answers who may not; for the others, `tenant_of` and `grant_of` say whose request it is.

    Pages of `origins` may send, besides those that the gate knows.
    """

    def __init__(
        self, app: ASGIApp, gate: Gate, policy: Policy, refusal: Refusal = refuse, origins: Origins | None = None
    ) -> None:
        self._app = app
        self._gate = gate
        self._policy = policy
        self._refusal = refusal
        self._origins = origins or Origins()

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"nothing here speaks {scope['type']}")
        headers = Headers(scope=scope)
        try:
            grant = self._admit(scope["method"], scope["path"], headers)
            tenants = self._gate.tenants
            tenant = tenants.find(grant.tenant) or await run_in_threadpool(tenants.get, grant.tenant)
        except DeniedError as error:
            await self._refusal(headers, error)(scope, receive, send)
            return
        except StoreError as error:
            denied = DeniedError("store", HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "5"})
            await self._refusal(headers, denied)(scope, receive, send)
            return
        scope.setdefault("state", {}).update(tenant=tenant, grant=grant)
        await self._app(scope, self._charged(receive, grant), send)

    def _admit(self, method: str, path: str, headers: Headers) -> Grant:
        origin = headers.get("origin")
        self._gate.check_names(method, headers.get("host"), None if origin in self._origins else origin)
        needed = self._policy(method, path)
        if needed is None:
            return Grant(scopes=frozenset())
        length = headers.get("content-length", "")
        return self._gate.admit(headers.get("authorization"), needed, int(length) if length.isdecimal() else None)

    def _charged(self, receive: Receive, grant: Grant) -> Receive:
        """The request's body, its bytes charged to the token."""
        if grant.token is None:
            return receive
        total = 0

        async def charged() -> Message:
            nonlocal total
            message = await receive()
            size = len(message.get("body", b""))
            total += size
            try:
                self._gate.receive(grant, size, total)
            except DeniedError as error:
                raise HTTPException(error.status, error.message) from error
            return message

        return charged


def grant_of(connection: HTTPConnection) -> Grant:
    """What a request may do; a FastAPI dependency, too."""
    found: Grant = connection.state.grant
    return found


def requires(scope: Scope) -> Callable[[HTTPConnection], Awaitable[None]]:
    """A FastAPI dependency: the request's token must have this scope as well."""

    async def check(connection: HTTPConnection) -> None:
        try:
            grant_of(connection).require(scope)
        except DeniedError as error:
            raise HTTPException(error.status, error.message, error.headers) from error

    return check
