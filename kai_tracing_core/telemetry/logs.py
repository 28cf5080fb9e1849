"""Log records that know their trace, and traces that know what was logged."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from kai_tracing_core.service import TracingService, tracing

__all__ = ["SpanEventHandler", "TraceContextFilter", "TraceContextFormatter", "add_trace_context"]

_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


def _fields(service: TracingService) -> tuple[str, str, bool]:
    span = service.get_current_span()
    context = span.trace_context if span is not None else None
    if context is None or not context.is_valid:
        return _NO_TRACE, _NO_SPAN, False
    return context.trace_id, context.span_id, context.is_sampled


class TraceContextFilter(logging.Filter):
    """Gives every log record `trace_id`, `span_id` and `trace_sampled`; zeros and False where no span is current.

    Add it to a handler, so that it sees the records of all loggers. It lets everything pass.
    """

    def __init__(self, service: TracingService = tracing) -> None:
        super().__init__()
        self._service = service

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields."""
        record.trace_id, record.span_id, record.trace_sampled = _fields(self._service)
        return True


class TraceContextFormatter(logging.Formatter):
    """A formatter whose format may use `%(trace_id)s`, `%(span_id)s` and `%(trace_sampled)s`; needs no filter."""

    def format(self, record: logging.LogRecord) -> str:
        """Add the fields where no filter did, then format."""
        if not hasattr(record, "trace_id"):
            record.trace_id, record.span_id, record.trace_sampled = _fields(tracing)
        return super().format(record)


def add_trace_context(_logger: Any, _method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor that adds `trace_id`, `span_id` and `trace_sampled` where a span is current."""
    trace_id, span_id, sampled = _fields(tracing)
    if trace_id != _NO_TRACE:
        event_dict.update(trace_id=trace_id, span_id=span_id, trace_sampled=sampled)
    return event_dict


class SpanEventHandler(logging.Handler):
    """Records log records, of WARNING and above unless told otherwise, as events `log` of the current span."""

    def __init__(self, level: int = logging.WARNING, service: TracingService = tracing) -> None:
        super().__init__(level)
        self._service = service

    def emit(self, record: logging.LogRecord) -> None:
        """Add the event. This package's own records are left out, lest they make more of themselves."""
        if record.name.startswith("kai_tracing"):
            return
        try:
            span = self._service.get_current_span()
            if span is None or not span.is_recording():
                return
            attributes = {
                "log.severity": record.levelname,
                "log.logger": record.name,
                "log.message": record.getMessage(),
            }
            if record.exc_info and record.exc_info[1] is not None:
                span.record_exception(record.exc_info[1])
            span.add_event("log", attributes, int(record.created * 1e9))
        except Exception:
            self.handleError(record)
