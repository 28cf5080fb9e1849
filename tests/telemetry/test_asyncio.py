"""Where the time of an asyncio event loop goes, told by its spans."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from kai_tracing_core import Span, TracingService
from kai_tracing_core.telemetry import asyncio_steps
from kai_tracing_core.telemetry.asyncio_steps import TimedCoroutine, current_step
from kai_tracing_core.telemetry.asyncio_truth import RUNNING, WAITING
from tests.telemetry.conftest import Initialized

# Busy machines make everything take longer, hence what took time is only compared with what it must have taken.
_BLOCK = 0.05


def block(seconds: float) -> None:
    """Do what a coroutine should not."""
    time.sleep(seconds)


@pytest.fixture
def service(initialized: Initialized) -> TracingService:
    """A service that measures asyncio; nothing is a stall or a pause."""
    return initialized(asyncio=True, asyncio_stall=1e6, asyncio_gc_pause=1e6)


@pytest.fixture
def stalling(initialized: Initialized) -> TracingService:
    """A service for which 50 ms are a stall."""
    return initialized(asyncio=True, asyncio_stall=_BLOCK, asyncio_gc_pause=1e6)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = asyncio.new_event_loop, asyncio.events.new_event_loop, list(gc.callbacks)
    yield
    asyncio_steps._watch._restore()
    assert (asyncio.new_event_loop, asyncio.events.new_event_loop, list(gc.callbacks)) == before


def finished(service: TracingService) -> dict[str, Span]:
    """The finished spans by name."""
    return {span.name: span for span in service.provider.spans}


def seconds(span: Span, name: str) -> float:
    """A measured time of a span."""
    value = span.attributes[name]
    assert isinstance(value, float)
    return value


class TestTimes:
    """Running and waiting."""

    def test_running_and_waiting(self, service: TracingService) -> None:
        """A span knows how long its task ran and how long it waited, from the first task of asyncio.run on."""

        async def main() -> None:
            with service.span("work"):
                block(_BLOCK)
                await asyncio.sleep(2 * _BLOCK)
                block(_BLOCK)

        asyncio.run(main())
        work = finished(service)["work"]
        assert seconds(work, RUNNING) >= 2 * _BLOCK
        assert seconds(work, WAITING) >= 1.9 * _BLOCK
        assert seconds(work, RUNNING) + seconds(work, WAITING) == pytest.approx(work.duration, abs=0.5)

    def test_other_tasks_are_waiting(self, service: TracingService) -> None:
        """The time of another task is not a span's own: for whoever waits meanwhile it is waiting."""

        async def child() -> None:
            with service.span("child"):
                block(_BLOCK)

        async def main() -> None:
            with service.span("parent"):
                await asyncio.gather(*(child() for _ in range(4)))

        asyncio.run(main())
        assert seconds(finished(service)["parent"], WAITING) >= 4 * _BLOCK
        assert seconds(finished(service)["child"], RUNNING) >= _BLOCK

    def test_ended_elsewhere(self, service: TracingService) -> None:
        """A span that another task or thread ends has the times of the task that started it."""

        async def starter() -> Span:
            span = service.span("work")
            block(_BLOCK)
            return span

        async def main() -> None:
            span = await asyncio.create_task(starter())
            block(2 * _BLOCK)
            await asyncio.to_thread(span.end)

        asyncio.run(main())
        work = finished(service)["work"]
        assert seconds(work, RUNNING) >= _BLOCK
        assert seconds(work, WAITING) >= 2 * _BLOCK

    def test_without_asyncio(self, service: TracingService) -> None:
        """A span outside of a task says nothing of it."""
        service.span("work").end()
        assert not finished(service)["work"].attributes

    def test_unended(self, service: TracingService) -> None:
        """What measures a span that never ends goes with it."""

        async def main() -> None:
            service.span("forgotten")

        asyncio.run(main())
        gc.collect()
        assert not [found for found in gc.get_objects() if type(found) is TimedCoroutine]

    def test_running_loop(self, initialized: Initialized) -> None:
        """A loop that ran before tracing was initialised is measured from its next task on."""

        async def child(service: TracingService) -> None:
            with service.span("child"):
                await asyncio.sleep(0)

        async def main() -> TracingService:
            service = initialized(asyncio=True)
            with service.span("unmeasured"):
                await asyncio.create_task(child(service))
            return service

        spans = finished(asyncio.run(main()))
        assert RUNNING in spans["child"].attributes
        assert RUNNING not in spans["unmeasured"].attributes


class TestTasks:
    """Tasks are what they are without measurements."""

    def test_results(self, service: TracingService) -> None:
        """Results, exceptions, names and context variables pass; `get_coro` and the stack are the coroutine's own."""
        variable = contextvars.ContextVar("variable", default="unset")

        async def work(value: str) -> str:
            variable.set(value)
            await asyncio.sleep(0)
            if value == "bad":
                raise ValueError(value)
            return variable.get()

        async def main() -> None:
            coroutine = work("good")
            task = asyncio.create_task(coroutine, name="named")
            assert task.get_coro() is coroutine
            assert task.get_name() == "named"
            assert "work()" in repr(task)
            await asyncio.sleep(0)
            assert [frame.f_code.co_name for frame in task.get_stack()] == ["work"]
            assert await task == "good"
            with pytest.raises(ValueError, match="bad"):
                await asyncio.create_task(work("bad"))
            assert variable.get() == "unset"
            assert await asyncio.wait_for(work("in time"), 60) == "in time"

        asyncio.run(main())

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="create_task takes a context since 3.11")
    def test_context(self, service: TracingService) -> None:
        """A task runs in the context that it is given."""
        variable = contextvars.ContextVar("variable", default="unset")
        context = contextvars.copy_context()

        async def work() -> None:
            variable.set("set")

        async def main() -> None:
            await asyncio.create_task(work(), context=context)

        asyncio.run(main())
        assert context[variable] == "set"

    def test_cancellation(self, service: TracingService) -> None:
        """A task can be cancelled, catch that, and clean up; its span is no failure."""
        seen = []

        async def work() -> None:
            with service.span("work"):
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError as error:
                    seen.append(error.args)
                    await asyncio.sleep(0)
                    raise

        async def main() -> None:
            task = asyncio.create_task(work())
            await asyncio.sleep(0)
            task.cancel("enough")
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.sleep(3600), 0.001)

        asyncio.run(main())
        assert seen == [("enough",)]
        assert finished(service)["work"].status.name == "UNSET"

    def test_existing_factory(self, service: TracingService) -> None:
        """The application's task factory makes the tasks, with whatever it was given, and they are measured."""

        class OwnTask(asyncio.Task):
            pass

        def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> OwnTask:
            return OwnTask(coroutine, loop=loop, **options)

        async def work() -> None:
            with service.span("work"):
                await asyncio.sleep(0)

        async def main() -> None:
            task = asyncio.get_running_loop().create_task(work(), name="named")
            assert type(task) is OwnTask
            assert task.get_name() == "named"
            assert task.get_coro().__qualname__.endswith("work")
            await task

        loop = asyncio.new_event_loop()
        mine = loop.get_task_factory()
        try:
            loop.set_task_factory(factory)
            asyncio_steps._watch._install(loop)
            loop.run_until_complete(main())
            assert RUNNING in finished(service)["work"].attributes
            service.shutdown()
            assert loop.get_task_factory() is factory
        finally:
            loop.close()
        assert mine is not None

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks exist since 3.12")
    def test_eager(self, service: TracingService) -> None:
        """An eager task begins inside its maker's step, yet its time is its own."""

        async def child() -> str:
            with service.span("child"):
                block(2 * _BLOCK)
            return "done"

        async def later() -> str:
            await asyncio.sleep(0)
            return "later"

        async def main() -> None:
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            asyncio_steps.adopt()
            with service.span("parent"):
                task = asyncio.create_task(child())
                assert task.done()
                assert task.result() == "done"
                assert await asyncio.create_task(later()) == "later"

        asyncio.run(main())
        assert seconds(finished(service)["child"], RUNNING) >= 2 * _BLOCK
        assert seconds(finished(service)["parent"], WAITING) >= 2 * _BLOCK

    def test_many_loops(self, service: TracingService) -> None:
        """Loops on several threads at once do not get in each other's way."""

        async def main(name: str) -> None:
            for _ in range(100):
                with service.span(name):
                    await asyncio.sleep(0)

        threads = [threading.Thread(target=lambda n=n: asyncio.run(main(f"{n}"))) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        spans = service.provider.spans
        assert len([span for span in spans if RUNNING in span.attributes]) == 400


class TestStalls:
    """What holds up the event loop."""

    @staticmethod
    def block(step: Any = None) -> None:
        """Block the loop until it was seen, and for longer than the step took until here: it is the span's stall."""
        step = current_step()
        assert step is not None
        began = time.perf_counter()
        before = began - step.started
        while step.blocking_stack() is None or time.perf_counter() - began < 1.1 * before:
            assert time.perf_counter() - began < 30
            time.sleep(0.01)

    def test_innermost_span(self, stalling: TracingService) -> None:
        """The innermost span of the blocking step gets the event, once, with duration and stack."""

        async def main() -> None:
            with stalling.span("outer"):
                await asyncio.sleep(0)
                with stalling.span("inner"):
                    self.block()

        asyncio.run(main())
        spans = finished(stalling)
        (event,) = spans["inner"].events
        assert event.name == "event_loop.stall"
        assert event.attributes["event_loop.stall.duration"] >= _BLOCK
        assert "in block" in event.attributes["code.stacktrace"]
        assert "in main" in event.attributes["code.stacktrace"]
        assert "asyncio_steps" not in event.attributes["code.stacktrace"]
        assert spans["outer"].events == []

    def test_span_goes_on(self, stalling: TracingService) -> None:
        """A span that goes on after the step gets the event at the step's end."""

        async def main() -> None:
            with stalling.span("work") as span:
                self.block()
                await asyncio.sleep(0)
                assert [event.name for event in span.events] == ["event_loop.stall"]

        asyncio.run(main())
        assert len(finished(stalling)["work"].events) == 1

    def test_no_stall(self, service: TracingService) -> None:
        """Waiting is no stall."""

        async def main() -> None:
            with service.span("work"):
                await asyncio.sleep(2 * _BLOCK)

        asyncio.run(main())
        assert finished(service)["work"].events == []

    def test_without_a_span(self, stalling: TracingService) -> None:
        """Where no span is current nothing is recorded, and nothing breaks."""

        async def main() -> None:
            self.block()

        asyncio.run(main())
        assert finished(stalling) == {}

    def test_deep_stack(self, stalling: TracingService) -> None:
        """The stack is bounded, and has its innermost frames."""

        def dive(depth: int) -> None:
            if depth:
                dive(depth - 1)
            else:
                self.block()

        async def main() -> None:
            with stalling.span("work"):
                dive(200)

        asyncio.run(main())
        (event,) = finished(stalling)["work"].events
        assert "in block" in event.attributes["code.stacktrace"]
        assert len(event.attributes["code.stacktrace"]) <= 4000

    def test_watchdog_sleeps_and_ends(self, stalling: TracingService) -> None:
        """The watchdog sleeps while no loop does anything, wakes for the next stall, and ends with the provider."""

        async def main() -> None:
            with stalling.span("work"):
                self.block()

        asyncio.run(main())
        watchdog = asyncio_steps._watch._thread
        assert watchdog is not None
        deadline = time.monotonic() + 30
        while not asyncio_steps._watch.sleeps and time.monotonic() < deadline:
            time.sleep(0.01)
        assert asyncio_steps._watch.sleeps
        asyncio.run(main())
        assert [len(span.events) for span in stalling.provider.spans] == [1, 1]
        stalling.shutdown()
        watchdog.join(30)
        assert not watchdog.is_alive()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
    def test_fork(self, stalling: TracingService) -> None:
        """A forked child watches its own loops."""

        async def main() -> None:
            with stalling.span("work"):
                self.block()

        asyncio.run(main())
        child = os.fork()
        if child == 0:
            asyncio.run(main())
            os._exit(0 if len(finished(stalling)["work"].events) == 1 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class TestCollector:
    """Pauses of the garbage collector."""

    def test_pause(self, initialized: Initialized) -> None:
        """A collection that takes long is an event of the span that is current, in asyncio or not."""
        service = initialized(asyncio=True, asyncio_gc_pause=1e-9)
        with service.span("work"):
            gc.collect()
        event = finished(service)["work"].events[-1]
        assert event.name == "gc.pause"
        assert event.attributes["gc.duration"] > 0
        assert event.attributes["cpython.gc.generation"] == 2
        assert event.attributes["gc.collected"] >= 0

    def test_short_pause(self, service: TracingService) -> None:
        """One below the threshold is not."""
        with service.span("work"):
            gc.collect()
        assert finished(service)["work"].events == []


def test_removed(initialized: Initialized) -> None:
    """After the shutdown loops, the collector and asyncio are as they were before, and what runs runs on."""

    async def work(service: TracingService, shut_down: Callable[[], Any]) -> None:
        loop = asyncio.get_running_loop()
        with service.span("work"):
            assert loop.get_task_factory() is not None
            task = asyncio.create_task(asyncio.sleep(0, "result"))
            shut_down()
            assert loop.get_task_factory() is None
            assert type(asyncio.create_task(asyncio.sleep(0))) is asyncio.Task
            assert await task == "result"

    original = asyncio.new_event_loop
    callbacks = list(gc.callbacks)
    service = initialized(asyncio=True)
    assert asyncio.new_event_loop is not original
    asyncio.run(work(service, service.shutdown))
    assert asyncio.new_event_loop is original
    assert gc.callbacks == callbacks


def test_switched(initialized: Initialized) -> None:
    """With another provider the measurements go on with its thresholds, once, until it has no such setting."""
    original = asyncio.new_event_loop
    service = initialized(asyncio=True, asyncio_stall=5)
    initialized(service=service, asyncio=True, asyncio_stall=7)
    assert asyncio_steps._watch.stall == 7

    async def main() -> None:
        with service.span("work"):
            await asyncio.sleep(0)
        assert type(asyncio.get_running_loop().get_task_factory()) is asyncio_steps._Factory

    asyncio.run(main())
    assert RUNNING in finished(service)["work"].attributes
    initialized(service=service)
    assert asyncio.new_event_loop is original


def test_factory_that_stays_behind_another(service: TracingService) -> None:
    """Where the loop got another task factory in front of ours, which then cannot be removed, it makes plain tasks."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours: Any = loop.get_task_factory()
        loop.set_task_factory(partial(ours))
        service.shutdown()
        task = asyncio.create_task(asyncio.sleep(0, "result"))
        assert type(task) is asyncio.Task
        assert await task == "result"

    asyncio.run(main())


def test_measured_coroutine_is_one() -> None:
    """It can be awaited and closed like the one it was made of."""

    async def work() -> str:
        return "result"

    async def main() -> str:
        return str(await TimedCoroutine(work()))

    assert asyncio.run(main()) == "result"
    TimedCoroutine(work()).close()  # else there would be a warning that it was never awaited


def test_watcher_that_raises(service: TracingService, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the task goes on."""

    class Broken:
        stall = 0.0

        def on_stall(self, step: object, seconds: float) -> None:
            raise ValueError("broken")

    broken: Any = Broken()
    asyncio_steps.watch(broken)
    try:
        assert asyncio.run(asyncio.sleep(0, "result")) == "result"
    finally:
        asyncio_steps.unwatch(broken)
    assert "the task goes on" in caplog.text
