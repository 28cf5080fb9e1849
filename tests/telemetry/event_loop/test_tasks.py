"""Measured tasks are what they were before: names, contexts, results, factories."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from functools import partial
from typing import Any

import pytest

from kai_tracing_core import TracingService
from kai_tracing_core.telemetry import asyncio_steps
from kai_tracing_core.telemetry.asyncio_steps import TimedCoroutine
from kai_tracing_core.telemetry.asyncio_truth import RUNNING, WAITING
from tests.telemetry.event_loop.conftest import BLOCK, block, finished, seconds


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
                block(2 * BLOCK)
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
        assert seconds(finished(service)["child"], RUNNING) >= 2 * BLOCK
        assert seconds(finished(service)["parent"], WAITING) >= 2 * BLOCK

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
