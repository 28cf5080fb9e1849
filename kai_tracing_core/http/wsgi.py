"""WSGI middleware: one SERVER span for each request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from kai_tracing_core.failures import describe, is_failure, qualified_name
from kai_tracing_core.http.routes import wsgi_route
from kai_tracing_core.http.semconv import HeaderCapture, method_attributes, path_filter
from kai_tracing_core.service import TracingService, tracing
from kai_tracing_core.span import Span, SpanKind, SpanStatusCode

__all__ = ["TracingWsgiMiddleware"]

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Callable[[bytes], Any]]
App: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]


class TracingWsgiMiddleware:
    """Traces a WSGI application (Flask, Django, any).

        app.wsgi_app = TracingWsgiMiddleware(app.wsgi_app)

    The span continues the caller's trace, is named `{method} {route}` (the method alone where the route is not
    known), and ends when the server closes the response. Only 5xx and exceptions are errors.
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
        """As for `TracingMiddleware`."""
        self.app = app
        self._service = service
        self._is_excluded = path_filter(excluded)
        self._request_headers = HeaderCapture("request", capture_request_headers)
        self._response_headers = HeaderCapture("response", capture_response_headers)
        self._traceresponse = traceresponse

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request."""
        if self._is_excluded(environ.get("PATH_INFO", "")):
            return self.app(environ, start_response)
        headers = _headers(environ)
        attributes, method = _request_attributes(environ)
        if self._request_headers:
            attributes.update(self._request_headers.read(headers.items()))
        service = self._service
        span = service.span(
            method,
            kind=SpanKind.SERVER,
            attributes=attributes,
            parent=service.extract_context(headers),
            record_exception=False,
        )
        response = _Response(span, environ, method)
        try:
            with service.use_context(span):
                response.body = self.app(environ, self._starting(span, response, start_response))
        except BaseException as error:
            response.failed(error)
            response.finish()
            raise
        response.service = service
        return response

    def _starting(self, span: Span, response: _Response, start_response: StartResponse) -> StartResponse:
        def started(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], Any]:
            code = status.split(" ", 1)[0]
            response.status = int(code) if code.isdigit() else 0
            if span.is_recording():
                if self._response_headers:
                    span.set_attributes(self._response_headers.read(headers))
                for name, value in headers:
                    if name.lower() == "content-length" and value.isdigit():
                        span.set_attribute("http.response.body.size", int(value))
            context = span.trace_context
            if self._traceresponse and context.is_valid:
                value = f"00-{context.trace_id}-{context.span_id}-{context.trace_flags:02x}"
                headers = [*headers, ("traceresponse", value)]
            return start_response(status, headers, *exc_info)

        return started


class _Response:
    """The application's response, its span current while the body is produced, ended when the server closes it."""

    __slots__ = ("_environ", "_iterator", "_method", "_span", "body", "service", "status")

    def __init__(self, span: Span, environ: Environ, method: str) -> None:
        self._span = span
        self._environ = environ
        self._method = method
        self._iterator: Iterator[bytes] | None = None
        self.status = 0
        self.body: Iterable[bytes] = ()
        self.service: TracingService = tracing

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            with self.service.use_context(self._span):
                if self._iterator is None:
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
                with self.service.use_context(self._span):
                    close()
        except BaseException as error:
            self.failed(error)
            raise
        finally:
            self.finish()

    def failed(self, error: BaseException) -> None:
        """The application raised."""
        if is_failure(error):
            self._span.record_exception(error, escaped=True)
            self._span.set_attribute("error.type", qualified_name(type(error)))
            self._span.set_status(SpanStatusCode.ERROR, f"{type(error).__name__}: {describe(error)}")
            self.status = self.status or 500

    def finish(self) -> None:
        """Say by which route and with which status the request was answered, and end the span."""
        span = self._span
        if span.is_recording():
            route = wsgi_route(self._environ)
            if route is not None:
                span.set_attribute("http.route", route)
                span.update_name(f"{self._method} {route}")
            if self.status:
                span.set_attribute("http.response.status_code", self.status)
                if self.status >= 500 and span.status is not SpanStatusCode.ERROR:
                    span.set_attribute("error.type", str(self.status))
                    span.set_status(SpanStatusCode.ERROR)
        span.end()


def _headers(environ: Environ) -> dict[str, str]:
    return {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}


def _request_attributes(environ: Environ) -> tuple[dict[str, Any], str]:
    scheme = environ.get("wsgi.url_scheme", "http")
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    attributes: dict[str, Any] = {"url.scheme": scheme, "url.path": path or "/"}
    method = method_attributes(environ.get("REQUEST_METHOD", "GET"), attributes)
    if query := environ.get("QUERY_STRING"):
        attributes["url.query"] = query
    host, _, port = environ.get("HTTP_HOST", "").rpartition(":")
    if host and port.isdigit():
        attributes["server.address"], attributes["server.port"] = host, int(port)
    else:
        attributes["server.address"] = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")
        attributes["server.port"] = 443 if scheme == "https" else 80
    for key, name in (
        ("client.address", "REMOTE_ADDR"),
        ("network.peer.address", "REMOTE_ADDR"),
        ("user_agent.original", "HTTP_USER_AGENT"),
    ):
        if value := environ.get(name):
            attributes[key] = value
    for key, name in (("network.peer.port", "REMOTE_PORT"), ("http.request.body.size", "CONTENT_LENGTH")):
        value = environ.get(name)
        if value and str(value).isdigit():
            attributes[key] = int(value)
    protocol = environ.get("SERVER_PROTOCOL", "")
    if protocol.startswith("HTTP/"):
        attributes["network.protocol.version"] = (
            protocol[5:].removesuffix(".0") if protocol == "HTTP/2.0" else protocol[5:]
        )
    return attributes, method
