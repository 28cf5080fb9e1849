"""Calls over gRPC, counted and traced as requests over HTTP are (`metering`, `TracingMiddleware`)."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

import grpc
from typing_extensions import Self

from kai_tracing_backend.metrics import Metrics
from kai_tracing_core.service import TracingService
from kai_tracing_core.span import Span, SpanKind, SpanStatusCode

__all__ = ["Call", "Calls"]

# Those that are the server's fault (OpenTelemetry semantic conventions, "gRPC", "gRPC Status").
_FAULTS = frozenset(
    (
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)


class Calls:
    """The calls of one method of a receiver; without a service they are not traced."""

    def __init__(self, metrics: Metrics, receiver: str, method: str, service: TracingService | None) -> None:
        self.metrics = metrics
        self.receiver = receiver
        self._method = method
        self._service = service

    def begin(self, metadata: Mapping[str, str]) -> Call:
        """A call that came."""
        return Call(self, self._span(metadata))

    def _span(self, metadata: Mapping[str, str]) -> Span | None:
        if self._service is None:
            return None
        package, _, method = self._method.rpartition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": package, "rpc.method": method}
        parent = self._service.extract_context(metadata)
        return self._service.span(self._method, kind=SpanKind.SERVER, attributes=attributes, parent=parent)


class Call:
    """One call, for `with`: what is known of it at its end is counted. An exception that leaves it is UNKNOWN."""

    def __init__(self, calls: Calls, span: Span | None) -> None:
        self._calls = calls
        self._span = span
        self.tenant = ""
        self.bytes = 0
        self.code = grpc.StatusCode.OK

    def __enter__(self) -> Self:
        if self._span is not None:
            self._span.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.code = grpc.StatusCode.UNKNOWN
        self._count()
        if self._span is not None:
            self._span.set_attribute("rpc.grpc.status_code", self.code.value[0])
            if self.code in _FAULTS:
                self._span.set_attribute("error.type", self.code.name)
                self._span.set_status(SpanStatusCode.ERROR)
            self._span.__exit__(kind, error, traceback)

    def _count(self) -> None:
        calls = self._calls
        label = calls.metrics.tenant(self.tenant) if self.tenant else ""
        calls.metrics.requests.labels(calls.receiver, label, self.code.name).inc()
        calls.metrics.bytes.labels(calls.receiver, label).inc(self.bytes)
