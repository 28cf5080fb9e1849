"""WSGI middleware: one SERVER span for each request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from kai_tracing_core.http.routes import decoded, wsgi_route
from kai_tracing_core.http.semconv import method_attributes, server_of, size
from kai_tracing_core.http.server import SPAN, Middleware, Served

__all__ = ["TracingWsgiMiddleware"]

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Callable[[bytes], Any]]
App: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]


class TracingWsgiMiddleware(Middleware[App]):
    """Traces a WSGI application (Flask, Django, any).

        app.wsgi_app = TracingWsgiMiddleware(app.wsgi_app)

    The span continues the caller's trace, is named `{method} {route}` (the method alone where the route is not
    known), and ends when the server closes the response. Only 5xx and exceptions are errors.
    """

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request."""
        tracer = self._tracer
        if SPAN in environ or tracer.excludes(environ.get("PATH_INFO", "")):
            return self.app(environ, start_response)
        headers = {
            name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")
        }
        attributes, name = _request_attributes(environ)
        if tracer.request_headers:
            attributes.update(tracer.request_headers.read(headers.items()))
        span = environ[SPAN] = tracer.start(name, attributes, headers)
        response = _Response(tracer, span, environ, wsgi_route)

        def started(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], Any]:
            value = response.answered(size(status[:3]) or 0, headers, "content-length")
            if value is not None:
                headers = [*headers, ("traceresponse", value)]
            return start_response(status, headers, *exc_info)

        try:
            with tracer.service.use_context(span):
                response.body = self.app(environ, started)
        except BaseException as error:
            response.failed(error)
            response.finish()
            raise
        return response


class _Response(Served):
    """The application's response, its span current while the body is produced, ended when the server closes it."""

    __slots__ = ("_iterator", "body")

    body: Iterable[bytes]
    _iterator: Iterator[bytes]  # unset until the first part is asked for

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            with self._tracer.service.use_context(self.span):
                if not hasattr(self, "_iterator"):
                    self._iterator = iter(self.body)
                return next(self._iterator)
        except StopIteration:
            raise
        except BaseException as error:
            self.failed(error)
            raise

    def close(self) -> None:
        """Close the application's body and end the span (PEP 3333, "Specification Details")."""
        try:
            close = getattr(self.body, "close", None)
            if close is not None:
                with self._tracer.service.use_context(self.span):
                    close()
        except BaseException as error:
            self.failed(error)
            raise
        finally:
            self.finish()


def _request_attributes(environ: Environ) -> tuple[dict[str, Any], str]:
    """The attributes of the span, and its name."""
    scheme = environ.get("wsgi.url_scheme", "http")
    path = decoded(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))
    attributes: dict[str, Any] = {"url.scheme": scheme, "url.path": path or "/"}
    name = method_attributes(environ.get("REQUEST_METHOD", "GET"), attributes)
    host = environ.get("HTTP_HOST") or f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
    attributes["server.address"], attributes["server.port"] = server_of(host, scheme)
    for key, variable in (
        ("url.query", "QUERY_STRING"),
        ("client.address", "REMOTE_ADDR"),
        ("network.peer.address", "REMOTE_ADDR"),
        ("user_agent.original", "HTTP_USER_AGENT"),
    ):
        if value := environ.get(variable):
            attributes[key] = value
    for key, variable in (("network.peer.port", "REMOTE_PORT"), ("http.request.body.size", "CONTENT_LENGTH")):
        number = size(str(environ.get(variable, "")))
        if number is not None:
            attributes[key] = number
    protocol = environ.get("SERVER_PROTOCOL", "")
    if protocol.startswith("HTTP/"):
        attributes["network.protocol.version"] = protocol[5:].replace("2.0", "2")
    return attributes, name
