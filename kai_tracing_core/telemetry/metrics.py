"""From spans to measurements."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from kai_tracing_core.processing import lifecycle
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.span import Span, SpanKind, SpanStatusCode
from kai_tracing_core.telemetry.contract import (
    OTHER,
    OVERFLOW,
    HttpRequest,
    Measurement,
    Operation,
    TelemetryService,
)

__all__ = ["CLIENT_ATTRIBUTES", "SERVER_ATTRIBUTES", "SpanMetrics"]

logger = logging.getLogger(__name__)

CLIENT_ATTRIBUTES = (
    "http.request.method",
    "server.address",
    "server.port",
    "http.response.status_code",
    "error.type",
    "network.protocol.version",
)
"""Attributes of `http.client.request.duration` (semantic conventions 1.44, "HTTP metrics")."""

SERVER_ATTRIBUTES = (
    "http.request.method",
    "url.scheme",
    "http.route",
    "http.response.status_code",
    "error.type",
    "network.protocol.version",
)
"""Attributes of `http.server.request.duration`; not the address, which is whatever a client says in `Host`."""

_BY_KIND = {SpanKind.CLIENT: CLIENT_ATTRIBUTES, SpanKind.SERVER: SERVER_ATTRIBUTES}
_KINDS = {kind: kind.name.lower() for kind in SpanKind}
_ERROR = SpanStatusCode.ERROR.value
_LONGEST = 255


class SpanMetrics(SpanProcessor):
    """Forwards every recorded span that ends to telemetry services: rate, errors and duration of each operation.

    Spans are weighted by their adjusted count, so that the rates are those of all operations where only some are
    sampled. At most `max_operations` different operations, and as many different HTTP requests, are told apart; what
    comes later is counted as `_other`, and as `otel.metric.overflow`.
    """

    def __init__(self, services: Sequence[TelemetryService], *, max_operations: int = 2000) -> None:
        self.services = tuple(services)
        self._max_operations = max_operations
        self._reset()
        lifecycle.register_fork(self)

    def _reset(self) -> None:
        self._operations: dict[tuple[Any, ...], Operation] = {}
        self._requests: dict[HttpRequest, HttpRequest] = {}

    def after_fork(self) -> None:
        """In a forked child: tell operations apart anew, as what counts them begins anew."""
        self._reset()

    def on_end(self, span: Span) -> None:
        """Measure the span."""
        measurement = Measurement(
            self._operation(span),
            (span._end - span._start) / 1e9,
            span.adjusted_count,
            span._status == _ERROR,
            span._trace_id,
            span._span_id,
            span._end,
            self._request(span),
        )
        for service in self.services:
            try:
                service.record(measurement)
            except Exception:
                logger.exception("%r raised; the span goes on", service)

    def _operation(self, span: Span) -> Operation:
        status_class = _status_class(span)
        service = span._sink.resource.get("service.name", "unknown_service")
        key = service, span.name, span._kind._value_, status_class
        known = self._operations.get(key)
        if known is not None:
            return known
        operation = Operation(_text(service), _text(span.name), _KINDS[span._kind], status_class)
        if len(self._operations) < self._max_operations:
            return self._operations.setdefault(key, operation)
        return operation._replace(name=OTHER)

    def _request(self, span: Span) -> HttpRequest | None:
        attributes = span._attributes
        names = _BY_KIND.get(span._kind)
        if names is None or "http.request.method" not in attributes:
            return None
        request = HttpRequest(
            span._kind is SpanKind.CLIENT,
            tuple([(name, _plain(attributes[name])) for name in names if name in attributes]),
        )
        known = self._requests.get(request)
        if known is not None:
            return known
        if len(self._requests) < self._max_operations:
            return self._requests.setdefault(request, request)
        return HttpRequest(request.is_client, OVERFLOW)

    def flush(self, timeout: float) -> bool:
        """Flush the services."""
        flushed = [_guarded(service, timeout) for service in self.services]
        return all(flushed)

    def shutdown(self, timeout: float) -> bool:
        """Flush and close the services."""
        done = self.flush(timeout)
        for service in self.services:
            try:
                service.close()
            except Exception:
                logger.exception("%r raised while it was closed", service)
        return done


def _guarded(service: TelemetryService, timeout: float) -> bool:
    try:
        return service.flush(timeout)
    except Exception:
        logger.exception("%r raised while it was flushed", service)
        return False


def _status_class(span: Span) -> str:
    attributes: Mapping[str, Any] = span._attributes
    status = attributes.get("http.response.status_code", attributes.get("http.status_code"))
    if isinstance(status, int) and 100 <= status < 600:
        return f"{status // 100}xx"
    return "error" if span._status == _ERROR else "ok"


def _text(value: object) -> str:
    return str(value)[:_LONGEST]


def _plain(value: object) -> str | int | bool:
    return value if isinstance(value, int) else _text(value)
