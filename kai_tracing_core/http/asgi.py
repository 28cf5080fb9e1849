"""ASGI middleware: one SERVER span for each request or WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any, TypeAlias

from kai_tracing_core.failures import describe, qualified_name
from kai_tracing_core.http.routes import asgi_route
from kai_tracing_core.http.semconv import HeaderCapture, method_attributes, path_filter
from kai_tracing_core.service import TracingService, tracing
from kai_tracing_core.span import Span, SpanKind, SpanStatusCode

__all__ = ["TracingMiddleware"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class TracingMiddleware:
    """Traces an ASGI application (Starlette, FastAPI, Django, Quart, any).

        app = TracingMiddleware(app)                      # or app.add_middleware(TracingMiddleware)

    The span continues the caller's trace, is named `{method} {route}` (the method alone where the route is not
    known), and ends with the last byte of the response; what a background task does afterwards is still its child.
    Only 5xx and exceptions are errors. A WebSocket is one span from its handshake to its end.
    """

    def __init__(
        self,
        app: App,
        *,
        service: TracingService = tracing,
        excluded: Iterable[str] = (),
        capture_request_headers: Sequence[str] = (),
        capture_response_headers: Sequence[str] = (),
        traceresponse: bool = False,
    ) -> None:
        """`excluded` are glob patterns of paths that are not traced, such as `/health*`.

        `traceresponse` sends the span's identity back to the caller in a header of that name (W3C Trace Context,
        level 2 draft, "Trace Context HTTP Response Headers").
        """
        self.app = app
        self._service = service
        self._is_excluded = path_filter(excluded)
        self._request_headers = HeaderCapture("request", capture_request_headers)
        self._response_headers = HeaderCapture("response", capture_response_headers)
        self._traceresponse = traceresponse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in ("http", "websocket") or self._is_excluded(scope["path"]):
            await self.app(scope, receive, send)
            return
        attributes, method = _request_attributes(scope)
        if self._request_headers:
            attributes.update(self._request_headers.read(scope["headers"]))
        span = self._service.span(
            method,
            kind=SpanKind.SERVER,
            attributes=attributes,
            parent=self._service.extract_context(scope["headers"]),
            record_exception=False,
        )
        exchange = _Exchange(self, span, scope, send, method)
        with span:
            try:
                await self.app(scope, exchange.receive(receive), exchange.send)
            except Exception as error:
                exchange.failed(error)
                raise
            exchange.finish()


class _Exchange:
    """One request and what is sent in answer to it."""

    __slots__ = ("_method", "_middleware", "_scope", "_send", "_span", "_status")

    def __init__(self, middleware: TracingMiddleware, span: Span, scope: Scope, send: Send, method: str) -> None:
        self._middleware = middleware
        self._span = span
        self._scope = scope
        self._send = send
        self._method = method
        self._status = 0

    def receive(self, receive: Receive) -> Receive:
        """`receive`, watching for the client's going away before the answer is complete."""

        async def watched() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and self._span.is_recording():
                self._span.add_event("client.disconnect")
            elif message["type"] == "websocket.disconnect":
                self._span.set_attribute("websocket.close_code", message.get("code", 1005))
            return message

        return watched

    async def send(self, message: Message) -> None:
        """Pass the message on, taking from it what the span wants to know."""
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start"):
            self._started(message)
        elif kind == "websocket.accept":
            self._status = 101
        await self._send(message)
        # The response is complete; Starlette runs background tasks before the application returns.
        if kind == "http.response.body" and not message.get("more_body", False):
            self.finish()
            self._span.end()

    def _started(self, message: Message) -> None:
        self._status = message["status"]
        span, middleware = self._span, self._middleware
        if middleware._traceresponse:
            context = span.trace_context
            if context.is_valid:
                value = f"00-{context.trace_id}-{context.span_id}-{context.trace_flags:02x}"
                message["headers"] = [*message.get("headers", ()), (b"traceresponse", value.encode())]
        if span.is_recording():
            if middleware._response_headers:
                span.set_attributes(middleware._response_headers.read(message.get("headers", ())))
            for name, value in message.get("headers", ()):
                if name.lower() == b"content-length" and value.isdigit():
                    span.set_attribute("http.response.body.size", int(value))

    def failed(self, error: Exception) -> None:
        """The application raised: an error, whatever was sent before."""
        self._span.record_exception(error, escaped=True)
        self._span.set_attribute("error.type", qualified_name(type(error)))
        self._span.set_status(SpanStatusCode.ERROR, f"{type(error).__name__}: {describe(error)}")
        self._status = self._status or 500
        self.finish()

    def finish(self) -> None:
        """Say by which route and with which status the request was answered."""
        span = self._span
        if not span.is_recording():
            return
        route = asgi_route(self._scope)
        if route is not None:
            span.set_attribute("http.route", route)
            span.update_name(f"{self._method} {route}")
        status = self._status
        if status:
            span.set_attribute("http.response.status_code", status)
            if status >= 500 and span.status is not SpanStatusCode.ERROR:
                span.set_attribute("error.type", str(status))
                span.set_status(SpanStatusCode.ERROR)


def _request_attributes(scope: Scope) -> tuple[dict[str, Any], str]:
    scheme = scope.get("scheme", "http")
    attributes: dict[str, Any] = {"url.scheme": scheme, "url.path": scope["path"]}
    method = method_attributes(scope.get("method", "GET"), attributes)
    if query := scope.get("query_string"):
        attributes["url.query"] = query.decode("latin-1")
    if version := scope.get("http_version"):
        attributes["network.protocol.version"] = version
    if client := scope.get("client"):
        attributes["client.address"], attributes["network.peer.port"] = client[0], client[1]
        attributes["network.peer.address"] = client[0]
    for name, value in scope["headers"]:
        if name == b"host":
            host, _, port = value.decode("latin-1").rpartition(":") if _has_port(value) else (value.decode(), "", "")
            attributes["server.address"] = host
            attributes["server.port"] = int(port) if port else 443 if scheme in ("https", "wss") else 80
        elif name == b"user-agent":
            attributes["user_agent.original"] = value.decode("latin-1")
        elif name == b"content-length" and value.isdigit():
            attributes["http.request.body.size"] = int(value)
    if "server.address" not in attributes and (server := scope.get("server")):
        attributes["server.address"] = server[0]
        if server[1] is not None:
            attributes["server.port"] = server[1]
    return attributes, method


def _has_port(host: bytes) -> bool:
    """Whether a Host header ends with a port; the colons of `[::1]` are none."""
    return host.rpartition(b":")[2].isdigit() and b":" in host and not host.endswith(b"]")
