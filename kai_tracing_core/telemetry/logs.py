"""Log records that know their trace, and traces that know what was logged."""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from typing import Any

from kai_tracing_core.service import TracingService, tracing
from kai_tracing_core.span import Span

__all__ = ["SpanEventHandler", "TraceContextFilter", "TraceContextFormatter", "add_trace_context"]

_FIELDS = ("trace_id", "span_id", "trace_sampled")
_NO_TRACE = ("0" * 32, "0" * 16, False)


def _identity(service: TracingService) -> tuple[str, str, bool]:
    span = service.get_current_span()
    context = span.trace_context if span is not None else None
    if context is None or not context.is_valid:
        return _NO_TRACE
    return context.trace_id, context.span_id, context.is_sampled


def _complete(record: logging.LogRecord, service: TracingService) -> None:
    """Give the record the fields it does not have: one made on another thread brings its own."""
    values = vars(record)
    if not all(field in values for field in _FIELDS):
        for field, value in zip(_FIELDS, _identity(service), strict=True):
            values.setdefault(field, value)


class TraceContextFilter(logging.Filter):
    """Gives every log record `trace_id`, `span_id` and `trace_sampled`; zeros and False where no span is current.

    Add it to a handler, so that it sees the records of all loggers. It lets everything pass. Where records cross to
    another thread, as with `QueueHandler`, add it to the handler in front.
    """

    def __init__(self, service: TracingService = tracing) -> None:
        super().__init__()
        self._service = service

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields."""
        _complete(record, self._service)
        return True


class TraceContextFormatter(logging.Formatter):
    """A formatter whose format may use `%(trace_id)s`, `%(span_id)s` and `%(trace_sampled)s`; needs no filter.

    Takes what `logging.Formatter` takes, and may be named in `logging.config`. Its fields are those of `service`.
    """

    service: TracingService = tracing

    def format(self, record: logging.LogRecord) -> str:
        """Add the fields where no filter did, then format."""
        _complete(record, self.service)
        return super().format(record)


def add_trace_context(_logger: Any, _method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor that adds `trace_id`, `span_id` and `trace_sampled` where a span is current."""
    identity = _identity(tracing)
    if identity is not _NO_TRACE:
        event_dict.update(zip(_FIELDS, identity, strict=True))
    return event_dict


class SpanEventHandler(logging.Handler):
    """Records log records, of WARNING and above unless told otherwise, as events `log` of the current span."""

    def __init__(
        self,
        level: int | str = logging.WARNING,
        get_current_span: Callable[[], Span | None] = tracing.get_current_span,
    ) -> None:
        super().__init__(level)
        self._get_current_span = get_current_span

    def emit(self, record: logging.LogRecord) -> None:
        """Add the event. This package's own records are left out, lest they make more of themselves."""
        if record.name.partition(".")[0].startswith("kai_tracing"):
            return
        try:
            span = self._get_current_span()
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
