"""Log records that know their trace, and traces that know what was logged."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import logging.handlers
import queue
from collections.abc import Iterator

import pytest
import structlog

from kai_tracing_core import TracingService, tracing
from kai_tracing_core.telemetry.logs import (
    SpanEventHandler,
    TraceContextFilter,
    TraceContextFormatter,
    add_trace_context,
)
from tests.telemetry.conftest import Initialized

_FORMAT = "%(trace_id)s %(span_id)s %(trace_sampled)s %(message)s"
_NONE = f"{'0' * 32} {'0' * 16} False"


@pytest.fixture
def stream() -> io.StringIO:
    """Where log records are written."""
    return io.StringIO()


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger that hands nothing on, without handlers afterwards."""
    logger = logging.getLogger("tests.telemetry.shop")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger
    logger.handlers.clear()
    logger.propagate = True


@pytest.fixture
def default(initialized: Initialized) -> Iterator[TracingService]:
    """The default service, as a new process finds it, and put back afterwards."""
    before = dict(vars(tracing))
    initialized(service=tracing)
    yield tracing
    tracing.shutdown()
    vars(tracing).clear()
    vars(tracing).update(before)


def test_filter(logger: logging.Logger, stream: io.StringIO, initialized: Initialized) -> None:
    """A filter gives every record the fields of the span, and zeros where none is current."""
    service = initialized()
    handler = logging.StreamHandler(stream)
    handler.addFilter(TraceContextFilter(service))
    handler.setFormatter(logging.Formatter(_FORMAT))
    logger.addHandler(handler)
    logger.info("before")
    with service.span("work") as span:
        logger.info("inside")
    service.disable()
    logger.info("disabled")
    assert stream.getvalue().splitlines() == [
        f"{_NONE} before",
        f"{span.trace_id} {span.span_id} True inside",
        f"{_NONE} disabled",
    ]


def test_unsampled(logger: logging.Logger, stream: io.StringIO, initialized: Initialized) -> None:
    """The record of a span that is not sampled has its ids, and says so."""
    service = initialized(sampler="always_off")
    handler = logging.StreamHandler(stream)
    handler.addFilter(TraceContextFilter(service))
    handler.setFormatter(logging.Formatter(_FORMAT))
    logger.addHandler(handler)
    with service.span("work") as span:
        logger.info("inside")
    assert stream.getvalue() == f"{span.trace_id} {span.span_id} False inside\n"


def test_formatter(logger: logging.Logger, stream: io.StringIO, default: TracingService) -> None:
    """A formatter of `logging.config` needs no filter, and is never short of a field."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"traced": {"()": TraceContextFormatter, "fmt": _FORMAT}},
            "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "traced", "stream": stream}},
            "loggers": {logger.name: {"handlers": ["out"]}},
        }
    )
    logger.info("before")
    with default.span("work") as span:
        logger.info("inside")
    assert stream.getvalue() == f"{_NONE} before\n{span.trace_id} {span.span_id} True inside\n"


def test_another_thread(logger: logging.Logger, stream: io.StringIO, default: TracingService) -> None:
    """A record that is written on another thread keeps the span of the thread that made it."""
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(records)
    handler.addFilter(TraceContextFilter())
    logger.addHandler(handler)
    writer = logging.StreamHandler(stream)
    writer.setFormatter(TraceContextFormatter(_FORMAT))
    listener = logging.handlers.QueueListener(records, writer)
    with default.span("work") as span:
        logger.info("inside")
    listener.start()
    listener.stop()
    assert stream.getvalue() == f"{span.trace_id} {span.span_id} True inside\n"


def test_structlog(stream: io.StringIO, default: TracingService) -> None:
    """Events of structlog get the fields where a span is current, and are left alone where none is."""
    log = structlog.wrap_logger(
        structlog.PrintLogger(stream), processors=[add_trace_context, structlog.processors.JSONRenderer()]
    )
    log.info("before")
    with default.span("work") as span:
        log.info("inside", amount=3)
    before, inside = map(json.loads, stream.getvalue().splitlines())
    assert before == {"event": "before"}
    assert inside == {
        "event": "inside",
        "amount": 3,
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "trace_sampled": True,
    }


def test_handler(logger: logging.Logger, initialized: Initialized) -> None:
    """Records from the level on are events with severity, logger, message and time; an exception is one of its own."""
    service = initialized()
    logger.addHandler(SpanEventHandler(get_current_span=service.get_current_span))
    logger.warning("nobody hears this")
    with service.span("work") as span:
        logger.info("too little")
        logger.warning("%d left", 3)
        logger.error("failed", exc_info=ValueError("wrong"))
    assert [event.name for event in span.events] == ["log", "exception", "log"]
    first, error, last = span.events
    assert first.attributes == {"log.severity": "WARNING", "log.logger": logger.name, "log.message": "3 left"}
    assert span.start_time <= first.timestamp + 1_000_000
    assert error.attributes["exception.message"] == "wrong"
    assert last.attributes["log.severity"] == "ERROR"


def test_handler_bad_record(initialized: Initialized, capsys: pytest.CaptureFixture[str]) -> None:
    """A record whose arguments do not fit is reported as by every handler, and raises nothing."""
    service = initialized()
    handler = SpanEventHandler(get_current_span=service.get_current_span)
    with service.span("work") as span:
        handler.handle(logging.LogRecord("shop", logging.WARNING, __file__, 1, "%d left", ("three",), None))
    assert span.events == []
    assert "Logging error" in capsys.readouterr().err


def test_setting(initialized: Initialized) -> None:
    """`log_events` is for as long as the provider is in use, redacted like all else; the root logger is left clean."""
    handlers = list(logging.getLogger().handlers)
    service = initialized(log_events=True)
    with service.span("work") as span:
        logging.getLogger("tests.telemetry.orders").warning("https://ann:secret@host/ is slow")
        logging.getLogger("tests.telemetry.orders").info("too little")
        logging.getLogger("kai_tracing_core.some.module").warning("not about the application")
    assert [event.attributes["log.message"] for event in span.events] == ["https://REDACTED:REDACTED@host/ is slow"]
    initialized(service=service, log_events=True, log_events_level="ERROR")
    with service.span("work") as span:
        logging.getLogger("tests.telemetry.orders").warning("too little")
        logging.getLogger("tests.telemetry.orders").error("once")
    assert [event.attributes["log.message"] for event in span.events] == ["once"]
    initialized(service=service)
    assert logging.getLogger().handlers == handlers
