"""What held up the event loop: steps that take too long, and garbage collections."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from typing import Any

import pytest

from kai_tracing_core import TracingService
from kai_tracing_core.telemetry import asyncio_steps
from kai_tracing_core.telemetry.asyncio_steps import current_step
from tests.telemetry.conftest import Initialized
from tests.telemetry.event_loop.conftest import BLOCK, finished


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
        assert event.attributes["event_loop.stall.duration"] >= BLOCK
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
                await asyncio.sleep(2 * BLOCK)

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
