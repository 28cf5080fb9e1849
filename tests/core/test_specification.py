"""The usage examples of the specification, translated line by line."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from kai_tracing_inmemory import InMemoryProvider

from kai_tracing_core import (
    Span,
    SpanKind,
    SpanOptions,
    SpanStatusCode,
    TraceContext,
    TracingProvider,
    TracingService,
    tracing,
)


def test_basic_usage(service: TracingService, provider: InMemoryProvider) -> None:
    """Section "Basic Usage": a started span is the current one, is described through the service and ended."""
    tracing = service

    # Start a span
    result = tracing.start_span(
        "operation_name",
        SpanOptions(
            kind=SpanKind.SERVER,
            attributes={"service.name": "my-service", "operation.name": "process-request"},
        ),
    )

    # Get the current span
    span = tracing.get_current_span()
    assert span is result.span

    # Add attributes to the span
    tracing.add_span_attributes(span, {"user.id": "123", "request.id": "abc-123"})

    # Add events to the span
    tracing.add_span_event(span, "processing_started", {"timestamp": time.time_ns()})

    # Set span status
    tracing.set_span_status(span, SpanStatusCode.OK)

    # End the span
    tracing.end_span(span)

    (recorded,) = provider.spans
    assert (recorded.name, recorded.kind, recorded.status) == ("operation_name", SpanKind.SERVER, SpanStatusCode.OK)
    assert recorded.attributes == {
        "service.name": "my-service",
        "operation.name": "process-request",
        "user.id": "123",
        "request.id": "abc-123",
    }
    (event,) = recorded.events
    assert event.name == "processing_started"
    assert isinstance(event.attributes["timestamp"], int)
    assert tracing.get_current_span() is None


def test_automatic_span_management(service: TracingService, provider: InMemoryProvider) -> None:
    """Section "Automatic Span Management": the code runs within the span, and its result comes back."""
    tracing = service

    async def query() -> list[str]:
        # This code is executed within the span
        current = tracing.get_current_span()
        assert current is not None
        assert current.is_recording()
        return ["user"]

    async def main() -> list[str]:
        # Automatically manage span lifecycle
        return await tracing.with_span(
            "database_query",
            query,
            SpanOptions(
                kind=SpanKind.CLIENT,
                attributes={"db.system": "postgresql", "db.statement": "SELECT * FROM users"},
            ),
        )

    async def by_keyword() -> list[str]:
        return await tracing.with_span(
            "database_query", query, kind=SpanKind.CLIENT, attributes={"db.system": "postgresql"}
        )

    assert asyncio.run(main()) == ["user"]
    assert asyncio.run(by_keyword()) == ["user"]
    first, second = provider.find("database_query", kind=SpanKind.CLIENT)
    assert first.attributes == {"db.system": "postgresql", "db.statement": "SELECT * FROM users"}
    assert second.attributes == {"db.system": "postgresql"}


def test_trace_context_propagation(service: TracingService, provider: InMemoryProvider) -> None:
    """Section "Trace Context Propagation": out of the incoming request, into the outgoing one, in one trace."""
    tracing = service
    request_headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}

    # Extract trace context from incoming request
    trace_context = tracing.extract_context(request_headers)

    # Create a child span
    result = tracing.start_span("child_operation", SpanOptions(parent=trace_context))

    # Inject trace context into outgoing request
    outgoing_headers: dict[str, str] = {}
    tracing.inject_context(result.trace_context, outgoing_headers)

    tracing.end_span(result.span)
    (span,) = provider.spans
    assert outgoing_headers["traceparent"] == f"00-0af7651916cd43dd8448eb211c80319c-{span.span_id}-01"
    assert span.parent_id == "b7ad6b7169203331"

    child = tracing.start_span("child_operation", parent=trace_context)
    headers: dict[str, str] = {}
    tracing.inject_context(child.trace_context, headers)
    tracing.end_span(child.span)
    assert headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")


def test_without_an_incoming_context(service: TracingService) -> None:
    """What `extract_context` gives for a request without headers can be handed on: a new trace starts."""
    context = service.extract_context({})
    assert context is None
    result = service.start_span("operation", SpanOptions(parent=context))
    assert result.span.parent_id is None
    service.end_span(result.span)


def test_the_service_has_the_whole_interface(service: TracingService) -> None:
    """Section "Tracing Service": every method of the specification's class is there, in snake case."""
    for name in (
        "set_provider enable disable start_span end_span set_span_status add_span_attributes add_span_event "
        "get_current_span with_span extract_context inject_context"
    ).split():
        assert callable(getattr(service, name)), name
        assert callable(getattr(tracing, name)), name


def test_the_provider_has_the_whole_interface() -> None:
    """Section "Tracing Provider Interface": a provider with the specification's methods alone is complete."""

    class Mine(TracingProvider):
        def __init__(self, provider: TracingProvider) -> None:
            self._provider = provider
            self.runtime = provider.runtime

        def start_span(self, name: str, options: SpanOptions | None = None) -> Span:
            return self._provider.start_span(f"mine: {name}", options)

        def get_current_span(self) -> Span | None:
            return self._provider.get_current_span()

        def extract_context(self, carrier: Any) -> TraceContext | None:
            return self._provider.extract_context(carrier)

        def inject_context(self, trace_context: TraceContext, carrier: Any) -> None:
            self._provider.inject_context(trace_context, carrier)

    recording = InMemoryProvider()
    service = TracingService(Mine(recording))
    with service.span("block", kind=SpanKind.CLIENT, attributes={"a": 1}, record_exception=False) as span:
        service.add_span_attributes(span, {"b": 2})
        service.add_span_event(span, "event")
        service.set_span_status(span, SpanStatusCode.ERROR, "message")
        assert service.get_current_span() is span
    assert service.with_span("run", lambda: 5) == 5
    service.end_span(service.start_span("started").span)
    assert [span.name for span in recording.spans] == ["mine: block", "mine: run", "mine: started"]
    block = recording.spans[0]
    assert (block.kind, dict(block.attributes), block.status_message) == (SpanKind.CLIENT, {"a": 1, "b": 2}, "message")
    assert (service.flush(), service.stats().ended) == (True, 0)
    service.disable()
    service.set_provider(recording)
    assert service.shutdown()
