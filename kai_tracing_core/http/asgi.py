"""ASGI middleware: one SERVER span for each request or WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from kai_tracing_core.http.routes import asgi_route
from kai_tracing_core.http.semconv import method_attributes, server_of, size
from kai_tracing_core.http.server import SPAN, Middleware, Served
from kai_tracing_core.propagation.base import Carrier

__all__ = ["TracingMiddleware"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_DISCONNECTS = frozenset(("ClientDisconnect", "WebSocketDisconnect"))  # Starlette's


class TracingMiddleware(Middleware[App]):
    """Traces an ASGI application (Starlette, FastAPI, Django, Quart, any).

        app = TracingMiddleware(app)                      # or app.add_middleware(TracingMiddleware)

    The span continues the caller's trace, is named `{method} {route}` (the method alone where the route is not
    known), and ends with the last byte of the response; what a background task does afterwards is still its child.
    Only 5xx and exceptions are errors. A WebSocket is one span from its handshake to its end.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        tracer = self._tracer
        if scope["type"] not in ("http", "websocket") or _has_span(scope) or tracer.excludes(scope["path"]):
            await self.app(scope, receive, send)
            return
        attributes, name, headers = _request_attributes(scope)
        if tracer.request_headers:
            attributes.update(tracer.request_headers.read(scope["headers"]))
        span = scope[SPAN] = tracer.start(name, attributes, headers)
        exchange = _Exchange(tracer, span, scope, asgi_route)
        exchange.receive, exchange.send = receive, send
        # The span is made current without its noticing, so that it stays the parent of what runs after its end.
        runtime = tracer.service.provider.runtime
        previous = runtime.attach(span)
        try:
            await self.app(scope, exchange.receive_message, exchange.send_message)
        except Exception as error:
            if not exchange.is_disconnect(error):
                exchange.failed(error)
            raise
        finally:
            exchange.finish()
            runtime.detach(previous)


class _Exchange(Served):
    """One request and the messages about it."""

    __slots__ = ("_gone", "receive", "send")

    receive: Receive
    send: Send
    _gone: bool  # unset while the client is there

    async def receive_message(self) -> Message:
        """Pass a message on, watching for the client's going away before the answer is complete."""
        message = await self.receive()
        kind = message["type"]
        if kind == "http.disconnect":
            self._gone = True
            self.span.add_event("client.disconnect")
        elif kind == "websocket.disconnect":
            self._gone = True
            self.span.set_attribute("websocket.close_code", message.get("code", 1005))
        return message

    async def send_message(self, message: Message) -> None:
        """Pass a message on, taking from it what the span wants to know."""
        kind = message["type"]
        if hasattr(self, "_gone"):  # nobody sees that answer
            await self.send(message)
            return
        if kind == "http.response.body":
            await self._send(message)
            # The answer is complete, though background tasks may follow. After an error, its exception follows.
            if self.status < 500 and not message.get("more_body", False):
                self.finish()
            return
        if kind in ("http.response.start", "websocket.http.response.start"):
            headers = message.get("headers", ())
            value = self.answered(message["status"], headers, b"content-length")
            if value is not None:
                message = {**message, "headers": [*headers, (b"traceresponse", value.encode())]}
        elif kind == "websocket.accept":
            self.status = 101
        elif kind == "websocket.close" and not self.status:
            self.status = 403
        await self._send(message)

    async def _send(self, message: Message) -> None:
        try:
            await self.send(message)
        except OSError:
            self._gone = True
            raise

    def is_disconnect(self, error: Exception) -> bool:
        """Whether the error only says that the client has gone, which is no failure of the server's."""
        return hasattr(self, "_gone") and (isinstance(error, OSError) or type(error).__name__ in _DISCONNECTS)


def _has_span(scope: Scope) -> bool:
    """Whether the request has its span: of another middleware, or of FastAPI's own telemetry through OpenTelemetry."""
    if SPAN in scope:
        return True
    span = getattr(scope.get("fastapi.telemetry"), "span", None)
    # One that does not record stands for no provider, or for a decision, which a span of ours under it follows.
    return span is not None and span.is_recording()


def _request_attributes(scope: Scope) -> tuple[dict[str, Any], str, Carrier]:
    """The attributes of the span, its name, and the headers in the form that is read fastest."""
    pairs = scope["headers"]
    if type(pairs) is not list:
        pairs = scope["headers"] = list(pairs)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
    scheme = scope.get("scheme", "http")
    attributes: dict[str, Any] = {"url.scheme": scheme, "url.path": scope["path"]}
    name = method_attributes(scope.get("method", "GET"), attributes)
    if query := scope.get("query_string"):
        attributes["url.query"] = query.decode("latin-1")
    if version := scope.get("http_version"):
        attributes["network.protocol.version"] = version
    if client := scope.get("client"):
        attributes["client.address"] = attributes["network.peer.address"] = client[0]
        attributes["network.peer.port"] = client[1]
    if host := headers.get("host"):
        attributes["server.address"], attributes["server.port"] = server_of(host, scheme)
    elif server := scope.get("server"):
        attributes["server.address"] = server[0]
        if server[1] is not None:
            attributes["server.port"] = server[1]
    if agent := headers.get("user-agent"):
        attributes["user_agent.original"] = agent
    if (length := size(headers.get("content-length"))) is not None:
        attributes["http.request.body.size"] = length
    # Where a header came twice all of them count.
    return attributes, name, headers if len(headers) == len(pairs) else pairs
