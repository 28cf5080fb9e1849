"""The no-op provider's own: what came in goes out unchanged, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from kai_tracing_noop import NoopProvider

from kai_tracing_core import SpanOptions, TraceContext, TracingService, initialize_tracing
from kai_tracing_core.noop import NOOP_SPAN
from kai_tracing_core.processing.processor import Stats

HEADERS = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=1,b=2"}


@pytest.fixture
def service() -> TracingService:
    """A service that does nothing."""
    return TracingService(NoopProvider())


def outgoing(service: TracingService) -> dict[str, str]:
    """The headers of a request that is made here."""
    headers: dict[str, str] = {}
    service.inject_context(service.start_span("client").trace_context, headers)
    return headers


def test_every_way_of_continuing_passes_the_context_on(service: TracingService) -> None:
    """Blocks, started spans, functions, generators and a context alone: the headers go out as they came in."""
    context = service.extract_context(HEADERS)

    @service.traced
    def function() -> dict[str, str]:
        return outgoing(service)

    @service.traced
    def generator() -> Iterator[dict[str, str]]:
        yield outgoing(service)

    @service.traced
    async def coroutine() -> dict[str, str]:
        await asyncio.sleep(0)
        return outgoing(service)

    @service.traced
    async def agenerator() -> AsyncIterator[dict[str, str]]:
        yield outgoing(service)

    async def main() -> list[dict[str, str]]:
        return [await coroutine(), await service.with_span("run", coroutine), *[each async for each in agenerator()]]

    def everything() -> list[dict[str, str]]:
        with service.span("inner"), service.span("innermost"):
            return [
                outgoing(service),
                function(),
                *generator(),
                service.with_span("run", function),
                *asyncio.run(main()),
            ]

    with service.span("server", parent=context):
        assert everything() == [HEADERS] * 7
    with service.use_context(context):
        assert everything() == [HEADERS] * 7
    assert service.with_span("server", everything, parent=context) == [HEADERS] * 7
    span = service.start_span("server", SpanOptions(parent=context)).span
    assert everything() == [HEADERS] * 7
    span.end()
    assert everything() == [{}] * 7


def test_a_detached_span_stands_for_its_parent(service: TracingService) -> None:
    """Without being current, too."""
    context = service.extract_context(HEADERS)
    headers: dict[str, str] = {}
    service.inject_context(service.start_span("x", parent=context, activate=False).trace_context, headers)
    assert headers == HEADERS
    assert outgoing(service) == {}


def test_everything_is_one_shared_span(service: TracingService) -> None:
    """Without a parent there is nothing to stand for, hence nothing to make."""
    assert service.span("a") is service.span("b") is service.start_span("c").span is NOOP_SPAN
    with service.span("a") as span, service.use_context(span):
        assert span.trace_context == TraceContext(baggage={})
        assert service.get_current_span() is NOOP_SPAN
    assert service.stats() == Stats()


def test_baggage_goes_on(service: TracingService) -> None:
    """Baggage is no recording: it is passed on and may be added to."""
    context = service.extract_context({**HEADERS, "baggage": "tenant=7"})
    with service.span("server", parent=context):
        assert dict(service.get_baggage()) == {"tenant": "7"}
        service.set_baggage("user", "5")
        assert outgoing(service)["baggage"] == "tenant=7,user=5"
    assert dict(service.get_baggage()) == {}


def test_propagators_that_raise_do_no_harm() -> None:
    """A broken format counts as absent."""

    class Broken:
        fields = ()

        def extract_from(self, carrier: object) -> None:
            raise RuntimeError("broken")

        def inject(self, context: object, carrier: object) -> None:
            raise RuntimeError("broken")

    provider = NoopProvider(Broken())  # what is tested
    assert provider.extract_context(HEADERS) is None
    provider.inject_context(TraceContext(1, 1), {})


def test_it_is_chosen_by_name() -> None:
    """`TRACING_TYPE=noop`, with the configured formats."""
    service = initialize_tracing(type="noop", propagators="b3", service=TracingService(auto=False))
    assert isinstance(service.provider, NoopProvider)
    context = service.extract_context({"b3": "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1"})
    with service.span("server", parent=context):
        assert set(outgoing(service)) == {"b3"}
