"""One attempt of an HTTP call as a CLIENT span, whichever library makes it."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from kai_tracing_core.attributes import Attributes
from kai_tracing_core.failures import describe, is_failure, qualified_name
from kai_tracing_core.http.semconv import HeaderCapture, default_port, method_attributes
from kai_tracing_core.processing.redaction import redact_url
from kai_tracing_core.service import TracingService, tracing
from kai_tracing_core.span import Span, SpanKind, SpanStatusCode

__all__ = ["Attempt", "ClientTracer"]


class ClientTracer:
    """Starts the spans of one client: its service, its own attributes, the headers that it captures."""

    def __init__(
        self,
        service: TracingService | None = None,
        *,
        attributes: Attributes | None = None,
        capture_request_headers: Sequence[str] = (),
        capture_response_headers: Sequence[str] = (),
    ) -> None:
        """`attributes` are set on every span; the captured headers become `http.request.header.<name>` and so on."""
        self.service = service or tracing
        self.attributes = dict(attributes or {})
        self.request_headers = HeaderCapture("request", capture_request_headers)
        self.response_headers = HeaderCapture("response", capture_response_headers)

    def start(
        self,
        method: str,
        url: str,
        *,
        scheme: str,
        host: str,
        port: int | None,
        headers: MutableMapping[str, str],
        length: int | None = None,
        template: str | None = None,
        resends: int = 0,
        parent: Span | None = None,
    ) -> Attempt:
        """Start the span of an attempt and write its trace context to the request's headers.

        `resends` is how often the same call was sent before, for whatever reason; `template` the URL's, with
        placeholders for what varies; `length` that of the body, in bytes.
        """
        attributes: dict[str, Any] = {
            "server.address": host,
            "server.port": port or default_port(scheme),
            "url.full": redact_url(url),
        }
        name = method_attributes(method, attributes)
        if template is not None:
            attributes["url.template"] = template
            name = f"{name} {template}"
        if resends:
            attributes["http.request.resend_count"] = resends
        if length is not None:
            attributes["http.request.body.size"] = length
        if self.request_headers:
            attributes.update(self.request_headers.read(headers.items()))
        if self.attributes:
            attributes.update(self.attributes)
        service = self.service
        span = service.span(name, kind=SpanKind.CLIENT, attributes=attributes, parent=parent, record_exception=False)
        service.inject_for_host(span.trace_context, headers, host)
        return Attempt(self, span)


class Attempt:
    """The span of one attempt, from before the connection until the response's body was read or given up."""

    __slots__ = ("_tracer", "span")

    def __init__(self, tracer: ClientTracer, span: Span) -> None:
        self._tracer = tracer
        self.span = span

    def answered(self, status: int, headers: Mapping[str, str], version: str | None, length: int | None) -> None:
        """The response's head is there. 4xx and 5xx are errors of the caller's operation."""
        span = self.span
        if not span.is_recording():
            return
        span.set_attribute("http.response.status_code", status)
        if version:
            span.set_attribute("network.protocol.version", version)
        if length is not None:
            span.set_attribute("http.response.body.size", length)
        if self._tracer.response_headers:
            span.set_attributes(self._tracer.response_headers.read(headers.items()))
        if status >= 400:
            span.set_attribute("error.type", str(status))
            span.set_status(SpanStatusCode.ERROR)

    def failed(self, error: BaseException) -> None:
        """No response, or not all of it. Deliberate cancellation is no error."""
        if is_failure(error):
            self.span.record_exception(error)
            self.span.set_attribute("error.type", qualified_name(type(error)))
            self.span.set_status(SpanStatusCode.ERROR, f"{type(error).__name__}: {describe(error)}")

    def surround(self, name: str) -> Span:
        """A span of this name for the whole call, now that there will be other attempts; this one becomes its child.

        It starts when this attempt did and takes its place in the trace, as far as the provider lets that be
        changed: behind a TracerProvider that the application brought itself it is the attempt's child instead.
        """
        span, tracer = self.span, self._tracer
        parent = tracer.service.span(
            name,
            attributes=tracer.attributes,
            parent=span,
            start_time=span.start_time or None,
            record_exception=False,
        )
        if span.is_recording() and getattr(parent, "_sink", None) is not None:
            parent._parent_id, span._parent_id = span._parent_id, parent._span_id
            parent._shared, span._shared = span._shared, parent._shared  # one of them says that its parent is remote
        return parent

    def end(self) -> None:
        """The attempt is over; later calls do nothing."""
        self.span.end()
