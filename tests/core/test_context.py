"""Which span is current, beyond what the contract suite says of every provider."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

from kai_tracing_inmemory import InMemoryProvider

from kai_tracing_core import Span, SpanOptions, TraceContext, TracingService
from kai_tracing_core.context import EMPTY_BAGGAGE, RuntimeContext, carried_baggage, wrap
from kai_tracing_core.executor import TracedThreadPoolExecutor
from kai_tracing_core.non_recording import NonRecordingSpan
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.sampling.always import AlwaysOff

REMOTE = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1, is_remote=True, baggage={"k": "v"})


def test_a_loop_whose_spans_end_in_tasks(provider: InMemoryProvider) -> None:
    """A consumer that starts a span per message and lets a task end it starts a trace per message."""

    async def handle(span: Span) -> None:
        with provider.span("handle"):
            await asyncio.sleep(0)
        span.end()

    async def consume() -> None:
        for number in range(3):
            span = provider.start_span(f"message {number}")
            await asyncio.create_task(handle(span))
            assert provider.get_current_span() is None

    asyncio.run(consume())
    messages = [span for span in provider.spans if span.name.startswith("message")]
    assert [span.parent_id for span in messages] == [None] * 3
    assert len({span.trace_id for span in messages}) == 3
    assert [span.parent_id for span in provider.find("handle")] == [span.span_id for span in messages]


def test_tasks_stay_in_the_trace_wherever_their_span_ends(provider: InMemoryProvider) -> None:
    """What inherited a span stays in its trace when the span ends in its place, in a task or on another thread."""

    async def late(name: str, ready: asyncio.Event) -> None:
        await ready.wait()
        with provider.span(name):
            pass

    async def end(span: Span) -> None:
        span.end()

    async def main() -> None:
        ready = asyncio.Event()
        tasks = []
        for name in ("place", "task", "thread"):
            span = provider.start_span(f"request {name}", SpanOptions(parent=TraceContext()))
            tasks.append(asyncio.create_task(late(name, ready)))
            await asyncio.sleep(0)
            if name == "place":
                span.end()
            elif name == "task":
                await asyncio.create_task(end(span))
            else:
                await asyncio.to_thread(span.end)
        ready.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    for name in ("place", "task", "thread"):
        assert provider.get(name).parent_id == provider.get(f"request {name}").span_id


def test_a_task_that_ends_what_it_inherited(provider: InMemoryProvider) -> None:
    """There, too, what was current before is current again, and the starter's own later spans are not affected."""

    async def end(span: Span) -> str | None:
        span.end()
        current = provider.get_current_span()
        return current.span_id if current is not None else None

    async def main() -> None:
        with provider.span("around") as around:
            inner = provider.start_span("inner")
            assert await asyncio.create_task(end(inner)) == around.span_id
            current = provider.get_current_span()
            assert current is around
            with provider.span("next") as following:
                assert following.parent_id == around.span_id

    asyncio.run(main())


def test_the_inner_span_may_outlive_the_outer_ones(provider: InMemoryProvider) -> None:
    """Ending from the outside in leaves nothing current, in whichever order."""
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        spans = [provider.start_span(str(number)) for number in range(3)]
        for position in order:
            spans[position].end()
            current = provider.get_current_span()
            assert current is None or current.is_recording()
        assert provider.get_current_span() is None


def test_what_is_current_survives_a_detached_end(provider: InMemoryProvider) -> None:
    """A detached span that ends before its block is entered is not made current by an end."""
    waiting = provider.span("waiting")
    waiting.end()
    waiting.end()
    assert provider.get_current_span() is None
    assert len(provider.spans) == 1


def test_a_block_over_a_started_span(provider: InMemoryProvider) -> None:
    """`with` over a span that is current already keeps it so, and ends it."""
    span = provider.start_span("operation")
    with span:
        assert provider.get_current_span() is span
    assert provider.get_current_span() is None
    assert len(provider.spans) == 1


def test_an_ended_current_span_is_a_parent_but_not_a_span(provider: InMemoryProvider) -> None:
    """Where a task inherited a span that has ended, the current one is a stand-in: same ids, records nothing."""
    seen = []

    def look() -> None:
        seen.append(provider.get_current_span())

    with provider.span("request") as request:
        inherited = contextvars.copy_context()
    inherited.run(look)
    (found,) = seen
    assert isinstance(found, NonRecordingSpan)
    assert found.span_id == request.span_id
    provider.start_span("child", SpanOptions(parent=found)).end()
    assert provider.get("child").parent_id == request.span_id


def test_the_stand_in_of_a_remote_parent_is_sampled(service: TracingService, provider: InMemoryProvider) -> None:
    """A child of what `get_current_span` gives under a remote context is recorded like any child of that context."""
    with service.use_context(REMOTE):
        current = service.get_current_span()
        service.start_span("child", parent=current).span.end()
    assert provider.get("child").parent_id == REMOTE.span_id


def test_wrapped_functions_run_side_by_side(service: TracingService) -> None:
    """A wrapped function may run on many threads at once, each with the context of the place where it was wrapped."""
    together = threading.Barrier(4)

    def look(number: int) -> tuple[int, str]:
        together.wait(10)
        span = service.get_current_span()
        assert span is not None
        return number, span.span_id

    with service.span("around") as around:
        wrapped = service.wrap(look)
    around_id = around.span_id
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(wrapped, range(4))) == [(number, around_id) for number in range(4)]
    assert wrapped.__name__ == "look"


def test_the_executor_carries_baggage_and_leaves_its_threads_clean(service: TracingService) -> None:
    """Tasks see the submitter's baggage; what they make current does not reach the next task."""
    with service.executor(1) as pool:
        assert isinstance(pool, TracedThreadPoolExecutor)
        with service.span("around", parent=REMOTE):
            pool.submit(service.start_span, "left open").result(10)
            assert pool.submit(lambda: dict(service.get_baggage())).result(10) == {"k": "v"}
        assert pool.submit(service.get_current_span).result(10) is None


def test_wrap_keeps_what_was_current_when_it_was_wrapped(service: TracingService) -> None:
    """Not what is current where it is called."""
    with service.span("first") as first:
        wrapped = wrap(service.get_current_span)
    with service.span("second"):
        found = wrapped()
    assert found is not None
    assert found.span_id == first.span_id


def test_baggage_of_a_started_span_reaches_explicit_children(service: TracingService) -> None:
    """A child that is given its parent on another thread carries the baggage that came with the parent."""
    with service.span("server", parent=REMOTE) as server:
        with ThreadPoolExecutor(1) as pool:

            def work() -> dict[str, str]:
                with service.span("child", parent=server) as child:
                    return {**service.get_baggage(), "context": str(dict(child.trace_context.baggage or {}))}

            assert pool.submit(work).result(10) == {"k": "v", "context": "{'k': 'v'}"}
        with service.span("nested", parent=server):
            assert dict(service.get_baggage()) == {"k": "v"}
        assert dict(service.get_baggage()) == {"k": "v"}
    assert dict(service.get_baggage()) == {}


def test_baggage_may_be_changed(service: TracingService) -> None:
    """Entries are set and removed in this context only, as text; the view that was given out stays as it was."""
    with service.span("server", parent=REMOTE):
        before = service.get_baggage()
        service.set_baggage("number", 5)  # what is not text becomes it
        assert dict(service.get_baggage()) == {"k": "v", "number": "5"}
        service.remove_baggage("k")
        service.remove_baggage("missing")
        assert dict(service.get_baggage()) == {"number": "5"}
        assert dict(before) == {"k": "v"}
        with service.span("client") as client:
            assert client.trace_context.baggage == {"number": "5"}
    assert service.get_baggage() == EMPTY_BAGGAGE


def test_the_context_of_an_ended_span_has_the_baggage_that_came_with_it(service: TracingService) -> None:
    """Also after its end, when other baggage is current."""
    with service.span("server", parent=REMOTE) as server:
        pass
    assert server.trace_context.baggage == {"k": "v"}
    assert service.span("waiting", parent=REMOTE).trace_context.baggage == {"k": "v"}


def test_what_carries_baggage() -> None:
    """Contexts and spans made of them do, others do not."""
    assert carried_baggage(REMOTE) == {"k": "v"}
    assert carried_baggage(NonRecordingSpan.of(REMOTE)) == {"k": "v"}
    assert carried_baggage(None) is None
    assert carried_baggage(TraceContext()) is None


def test_the_runtime_puts_back_what_was_current() -> None:
    """Attaching may be nested; a context brings its baggage and takes it away again."""
    runtime = RuntimeContext()
    outer = runtime.attach(REMOTE)
    inner = runtime.attach(None)
    assert runtime.get() is None
    runtime.detach(inner)
    assert runtime.get() is REMOTE
    assert runtime.get_baggage() == {"k": "v"}
    runtime.detach(outer)
    assert runtime.get() is None
    assert runtime.get_baggage() == {}


def test_an_unsampled_span_that_others_made_current() -> None:
    """It ends while `use_context` has it current, or in another context than it was entered in: nothing breaks."""
    service = TracingService(InMemoryProvider(config=PipelineConfig(sampler=AlwaysOff())))
    span = service.span("not sampled")
    with service.use_context(span):
        span.__exit__(None, None, None)
        assert service.get_current_span() is not span
    entered = service.span("entered")
    entered.__enter__()
    contextvars.copy_context().run(entered.__exit__, None, None, None)
    with service.span("later") as later:
        assert later.parent_id is None
    service.shutdown()


def test_what_was_current_before_has_ended_meanwhile(provider: InMemoryProvider) -> None:
    """A span that ends puts back what is still running, not one that another task has ended since."""

    def nested() -> None:
        outer = provider.start_span("outer")
        inner = provider.start_span("inner")
        contextvars.copy_context().run(outer.end)
        inner.end()
        assert provider.get_current_span() is None

    contextvars.copy_context().run(nested)
