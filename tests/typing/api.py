"""The types of the public API, as a type checker sees them from outside. Checked by mypy --strict, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kai_tracing_inmemory import CapturedSpans, InMemoryProvider, SpanTree, capture_spans
from typing_extensions import assert_type

from kai_tracing_core import (
    Link,
    ProviderSettings,
    Span,
    SpanKind,
    SpanOptions,
    SpanResult,
    SpanStatusCode,
    TraceContext,
    TracingProvider,
    TracingService,
    TracingSettings,
    hookimpl,
    initialize_tracing,
    tracing,
)
from kai_tracing_core.processing.processor import Stats

assert_type(tracing, TracingService)
assert_type(initialize_tracing(), TracingService)
assert_type(initialize_tracing(TracingSettings(), type="zipkin"), TracingService)
assert_type(tracing.provider, TracingProvider)
assert_type(tracing.enabled, bool)
assert_type(tracing.flush(1.5), bool)
assert_type(tracing.shutdown(), bool)
assert_type(tracing.stats(), Stats)
assert_type(tracing.stats().dropped, Mapping[str, int])


# -- spans -------------------------------------------------------------------------------------------------------------

with tracing.span("name", kind=SpanKind.CLIENT, attributes={"a": 1, "b": ["x"]}, record_exception=False) as block:
    assert_type(block, Span)
    block.set_attribute("key", [1, 2])
    block.add_event("event", {"key": "value"}, timestamp=1.5)
    block.add_link(TraceContext(), {"key": True})


async def in_a_task() -> None:
    async with tracing.span("name") as span:
        assert_type(span, Span)


result = tracing.start_span("name", SpanOptions(kind=SpanKind.SERVER))
assert_type(result, SpanResult)
assert_type(result.span, Span)
assert_type(result.trace_context, TraceContext)
tracing.start_span("name", parent=result.trace_context, links=[Link(TraceContext()), TraceContext()], activate=False)
tracing.start_span("name", parent=result.span, start_time=1.5)

current = tracing.get_current_span()
assert_type(current, Span | None)
tracing.add_span_attributes(current, {"key": 1.5})
tracing.add_span_event(current, "event", {"key": "value"}, 5)
tracing.set_span_status(current, SpanStatusCode.ERROR, "message")
tracing.end_span(current, 5)

assert_type(block.trace_id, str)
assert_type(block.parent_id, str | None)
assert_type(block.kind, SpanKind)
assert_type(block.status, SpanStatusCode)
assert_type(block.start_time, int)
assert_type(block.end_time, int | None)
assert_type(block.duration, float | None)


# -- functions ---------------------------------------------------------------------------------------------------------


def plain() -> int:
    return 5


async def coroutine() -> str:
    return ""


async def run() -> None:
    assert_type(tracing.with_span("name", coroutine, kind=SpanKind.CLIENT), Awaitable[str])
    assert_type(await tracing.with_span("name", coroutine), str)


assert_type(tracing.with_span("name", plain), int)
assert_type(tracing.with_span("name", plain, SpanOptions()), int)


@tracing.traced
def add(one: int, other: str = "") -> bytes:
    return b""


@tracing.traced("name", kind=SpanKind.CONSUMER, attributes={"a": 1})
async def fetch(url: str) -> list[int]:
    return []


@tracing.traced()
def numbers() -> Iterator[int]:
    yield 1


@tracing.traced
async def lines() -> AsyncIterator[str]:
    yield ""


assert_type(add(1, other=""), bytes)
assert_type(numbers(), Iterator[int])
assert_type(lines(), AsyncIterator[str])
assert_type(tracing.wrap(add)(1), bytes)
assert_type(tracing.executor(2, thread_name_prefix="x"), ThreadPoolExecutor)


async def use() -> None:
    assert_type(await fetch("url"), list[int])


# -- context -----------------------------------------------------------------------------------------------------------

headers: dict[str, str] = {}
context = tracing.extract_context(headers)
assert_type(context, TraceContext | None)
tracing.extract_context([(b"traceparent", b"")])
tracing.inject_context(TraceContext(), headers)
with tracing.use_context(context) as nothing:
    assert_type(nothing, None)
assert_type(tracing.get_baggage(), Mapping[str, str])


# -- providers ---------------------------------------------------------------------------------------------------------


class MySettings(ProviderSettings):
    section = "mine"
    endpoint: str = ""


class MyProvider(TracingProvider):
    name = "mine"
    settings_model = MySettings

    def start_span(self, name: str, options: SpanOptions | None = None) -> Span:
        return tracing.span(name)

    def get_current_span(self) -> Span | None:
        return None

    def extract_context(self, carrier: Any) -> TraceContext | None:
        return None

    def inject_context(self, trace_context: TraceContext, carrier: Any) -> None: ...


@hookimpl
def kai_tracing_create_provider() -> TracingProvider:
    return MyProvider()


memory = InMemoryProvider()
assert_type(memory.find("name", kind=SpanKind.CLIENT, attributes={"a": 1}), list[Span])
assert_type(memory.get("name"), Span)
assert_type(memory.roots(), list[Span])
assert_type(memory.tree(), SpanTree)
tracing.set_provider(memory)

with capture_spans(fixed=True, service_name="shop") as captured:
    assert_type(captured, CapturedSpans)
    assert_type(captured.assert_span("name", kind=SpanKind.CLIENT, attributes={"a": ...}, parent=None), Span)
    assert_type(captured.wait_for("na*", count=2, timeout=1), list[Span])
    assert_type(captured.snapshot("a", "b"), str)
    assert_type([span.name for span in captured], list[str])
    captured.assert_tree("name", ordered=False)
    captured.assert_no_span("name", status=SpanStatusCode.ERROR)
    captured.max_spans("SELECT*", 3)
    captured.assert_no_n_plus_one(threshold=2)
