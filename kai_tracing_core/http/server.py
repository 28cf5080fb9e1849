"""What the middlewares have in common: one request that is served, as a SERVER span."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from kai_tracing_core.failures import describe, is_failure, qualified_name
from kai_tracing_core.http.semconv import HeaderCapture, path_filter, size
from kai_tracing_core.propagation.base import Carrier
from kai_tracing_core.service import TracingService, tracing
from kai_tracing_core.span import Span, SpanKind, SpanStatusCode

__all__ = ["SPAN", "Middleware", "Served", "ServerTracer"]

logger = logging.getLogger(__name__)

AppT = TypeVar("AppT")

SPAN = "kai_tracing.span"
"""Where the ASGI scope and the WSGI environment hold the span, so that no second middleware makes another one."""


@dataclass(frozen=True, slots=True)
class ServerTracer:
    """Starts the spans of one middleware: its service, the paths it leaves alone, the headers that it captures."""

    service: TracingService
    excludes: Callable[[str], bool]
    request_headers: HeaderCapture
    response_headers: HeaderCapture
    traceresponse: bool

    def start(self, name: str, attributes: dict[str, Any], headers: Carrier) -> Span:
        """Start the span of a request, whose name is the method until the route is known; not yet current."""
        service = self.service
        return service.span(
            name,
            kind=SpanKind.SERVER,
            attributes=attributes,
            parent=service.extract_context(headers),
            record_exception=False,
        )


class Middleware(Generic[AppT]):
    """What wraps an application, and the options that ASGI's and WSGI's have in common."""

    def __init__(
        self,
        app: AppT,
        *,
        service: TracingService = tracing,
        excluded: Iterable[str] = (),
        capture_request_headers: Sequence[str] = (),
        capture_response_headers: Sequence[str] = (),
        traceresponse: bool = False,
    ) -> None:
        """`excluded` are glob patterns of paths that are not traced, such as `/health*`.

        Captured headers become attributes `http.request.header.<name>` and `http.response.header.<name>`.
        `traceresponse` sends the span's identity back to the caller in a header of that name (W3C Trace Context,
        level 2 draft, "Trace Context HTTP Response Headers").
        """
        self.app = app
        self._tracer = ServerTracer(
            service,
            path_filter(excluded),
            HeaderCapture("request", capture_request_headers),
            HeaderCapture("response", capture_response_headers),
            traceresponse,
        )


class Served:
    """One request and what is known of the answer to it."""

    __slots__ = ("_find_route", "_request", "_route", "_tracer", "span", "status")

    def __init__(
        self,
        tracer: ServerTracer,
        span: Span,
        request: Mapping[str, Any],
        find_route: Callable[[Mapping[str, Any]], str | None],
    ) -> None:
        """`request` is the ASGI scope or the WSGI environment, of which `find_route` finds the route."""
        self._tracer = tracer
        self._request = request
        self._find_route = find_route
        self._route: str | None = None
        self.span = span
        self.status = 0

    def answered(self, status: int, headers: Iterable[tuple[Any, Any]], length_name: str | bytes) -> str | None:
        """The head of the response is there; `length_name` is `content-length`, as bytes where names are bytes.

        Returns the value of the `traceresponse` header that is to be added, or None.
        """
        self.status = status
        span, tracer = self.span, self._tracer
        if span.is_recording():
            self._take_route()  # which Flask forgets before the response is closed
            for name, value in headers:
                if name.lower() == length_name and (number := size(value)) is not None:
                    span.set_attribute("http.response.body.size", number)
            if tracer.response_headers:
                span.set_attributes(tracer.response_headers.read(headers))
        if tracer.traceresponse:
            context = span.trace_context
            if context.is_valid:
                return f"00-{context.trace_id}-{context.span_id}-{context.trace_flags:02x}"
        return None

    def failed(self, error: BaseException) -> None:
        """The application raised: an error, whatever was sent before, unless it was only told to stop."""
        if is_failure(error):
            self.span.record_exception(error, escaped=True)
            self.span.set_attribute("error.type", qualified_name(type(error)))
            self.span.set_status(SpanStatusCode.ERROR, f"{type(error).__name__}: {describe(error)}")
            self.status = self.status or 500

    def finish(self) -> None:
        """Say by which route and with which status the request was answered, and end the span; again, do nothing."""
        span = self.span
        if span.is_recording():
            if self._route is None:
                self._take_route()
            status = self.status
            if status:
                span.set_attribute("http.response.status_code", status)
                if status >= 500 and span.status is not SpanStatusCode.ERROR:
                    span.set_attribute("error.type", str(status))
                    span.set_status(SpanStatusCode.ERROR)
        span.end()

    def _take_route(self) -> None:
        try:
            route = self._find_route(self._request)
        except Exception:
            logger.debug("the route could not be found", exc_info=True)
            return
        if route is not None:
            self._route = route
            self.span.set_attribute("http.route", route)
            self.span.update_name(f"{self.span.name} {route}")
