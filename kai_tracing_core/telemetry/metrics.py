"""From spans to measurements."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Lock

from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.span import Span, SpanStatusCode
from kai_tracing_core.telemetry.contract import OTHER, Exemplar, Operation, TelemetryService

__all__ = ["SpanMetrics"]

logger = logging.getLogger(__name__)

_STATUS_KEYS = ("http.response.status_code", "http.status_code")


class SpanMetrics(SpanProcessor):
    """Forwards every span that ends to telemetry services: rate, errors and duration of each operation.

    Spans are weighted by their adjusted count, so that the rates are those of all operations where only some are
    sampled. At most `max_operations` different ones are told apart; what comes later is counted as `_other`.
    """

    def __init__(self, services: Sequence[TelemetryService], *, max_operations: int = 2000) -> None:
        self._services = tuple(services)
        self._max_operations = max_operations
        self._known: dict[tuple[object, ...], Operation] = {}
        self._lock = Lock()

    def on_end(self, span: Span) -> None:
        """Measure the span."""
        operation = self._operation(span)
        seconds = (span._end - span._start) / 1e9
        exemplar = Exemplar(span.trace_id, span.span_id)
        for service in self._services:
            try:
                service.record(operation, seconds, span.adjusted_count, exemplar)
            except Exception:
                logger.exception("%r raised; the span goes on", service)

    def _operation(self, span: Span) -> Operation:
        status: object = None
        for name in _STATUS_KEYS:
            status = span._attributes.get(name, status)
        key = (id(span.resource), span.name, span.kind, span._status, status)
        operation = self._known.get(key)
        if operation is None:
            operation = _describe(span, status)
            with self._lock:
                if len(self._known) < self._max_operations:
                    self._known[key] = operation
                else:
                    operation = operation._replace(name=OTHER)
        return operation

    def flush(self, timeout: float) -> bool:
        """Flush the services."""
        flushed = [service.flush(timeout) for service in self._services]
        return all(flushed)

    def shutdown(self, timeout: float) -> bool:
        """Flush and close the services."""
        done = self.flush(timeout)
        for service in self._services:
            service.close()
        return done


def _describe(span: Span, status: object) -> Operation:
    error = span._status == SpanStatusCode.ERROR
    if isinstance(status, int) and 100 <= status < 600:
        status_class = f"{status // 100}xx"
    else:
        status_class = "error" if error else "ok"
    service = str(span.resource.get("service.name", "unknown_service"))
    return Operation(service, span.name, span.kind.name.lower(), status_class, error)
