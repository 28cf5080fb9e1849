"""What it costs to write and to read the headers of W3C Trace Context, with baggage switched on as by default."""

from __future__ import annotations

from typing import Any

from benchmarks import peers
from benchmarks.measure import calling_thread
from benchmarks.row import Row

CHUNK = 2000
HEADERS = {
    "host": "shop.example.org",
    "user-agent": "python-httpx/0.28.1",
    "accept": "*/*",
    "accept-encoding": "gzip, deflate, br",
    "connection": "keep-alive",
    "content-type": "application/json",
    "content-length": "42",
    "authorization": "Bearer x",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03",
    "tracestate": "ot=th:c",
}


def _service() -> Any:
    from kai_tracing_core import TracingService

    return TracingService(peers.kai_provider())


def kai_inject() -> float:
    tracing = _service()
    with tracing.span("GET /cart") as span:

        def body(turns: int) -> None:
            for _ in range(turns):
                tracing.inject_context(span.trace_context, {})

        return calling_thread(body, chunk=CHUNK)


def sdk_inject() -> float:
    from opentelemetry import propagate

    def body(turns: int) -> None:
        for _ in range(turns):
            propagate.inject({})

    with peers.sdk_provider().get_tracer("bench").start_as_current_span("GET /cart"):
        return calling_thread(body, chunk=CHUNK)


def kai_extract() -> float:
    tracing = _service()

    def body(turns: int) -> None:
        for _ in range(turns):
            tracing.extract_context(HEADERS)

    assert tracing.extract_context(HEADERS).trace_state
    return calling_thread(body, chunk=CHUNK)


def sdk_extract() -> float:
    from opentelemetry import propagate

    def body(turns: int) -> None:
        for _ in range(turns):
            propagate.extract(HEADERS)

    return calling_thread(body, chunk=CHUNK)


ROWS = [
    Row("inject", kai_inject, sdk_inject, "opentelemetry-api's default propagator", budget=0.35),
    Row("extract", kai_extract, sdk_extract, "opentelemetry-api's default propagator", budget=0.35),
]
