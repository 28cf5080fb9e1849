"""How long the task of a span ran and waited, and that nothing stays behind when the measuring ends."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from kai_tracing_core import Span, TracingService
from kai_tracing_core.telemetry import asyncio_steps
from kai_tracing_core.telemetry.asyncio_steps import TimedCoroutine
from kai_tracing_core.telemetry.asyncio_truth import RUNNING, WAITING
from tests.telemetry.conftest import Initialized
from tests.telemetry.event_loop.conftest import BLOCK, block, finished, seconds


class TestTimes:
    """Running and waiting."""

    def test_running_and_waiting(self, service: TracingService) -> None:
        """A span knows how long its task ran and how long it waited, from the first task of asyncio.run on."""

        async def main() -> None:
            with service.span("work"):
                block(BLOCK)
                await asyncio.sleep(2 * BLOCK)
                block(BLOCK)

        asyncio.run(main())
        work = finished(service)["work"]
        assert seconds(work, RUNNING) >= 2 * BLOCK
        assert seconds(work, WAITING) >= 1.9 * BLOCK
        assert seconds(work, RUNNING) + seconds(work, WAITING) == pytest.approx(work.duration, abs=0.5)

    def test_other_tasks_are_waiting(self, service: TracingService) -> None:
        """The time of another task is not a span's own: for whoever waits meanwhile it is waiting."""

        async def child() -> None:
            with service.span("child"):
                block(BLOCK)

        async def main() -> None:
            with service.span("parent"):
                await asyncio.gather(*(child() for _ in range(4)))

        asyncio.run(main())
        assert seconds(finished(service)["parent"], WAITING) >= 4 * BLOCK
        assert seconds(finished(service)["child"], RUNNING) >= BLOCK

    def test_ended_elsewhere(self, service: TracingService) -> None:
        """A span that another task or thread ends has the times of the task that started it."""

        async def starter() -> Span:
            span = service.span("work")
            block(BLOCK)
            return span

        async def main() -> None:
            span = await asyncio.create_task(starter())
            block(2 * BLOCK)
            await asyncio.to_thread(span.end)

        asyncio.run(main())
        work = finished(service)["work"]
        assert seconds(work, RUNNING) >= BLOCK
        assert seconds(work, WAITING) >= 2 * BLOCK

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
