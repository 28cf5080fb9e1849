"""What a span's duration does not say: how long its task ran and waited, and what held up the event loop."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.span import Span
from kai_tracing_core.telemetry.asyncio_steps import Step, TimedCoroutine, adopt, current_step, unwatch, watch
from kai_tracing_core.trace_context import TraceContext

__all__ = ["RUNNING", "WAITING", "AsyncioTruth"]

RUNNING = "asyncio.running"
WAITING = "asyncio.waiting"


class AsyncioTruth(SpanProcessor):
    """Adds to spans what asyncio did meanwhile, from now until it is shut down.

    - `asyncio.running` and `asyncio.waiting`, in seconds: how long the task that started the span ran until the span
      ended, and how long it did not.
    - An event `event_loop.stall` where one step of a task, which keeps all others waiting, took `stall` seconds or
      more: `event_loop.stall.duration` in seconds, and `code.stacktrace`, where it was when it became one.
    - An event `gc.pause` where a garbage collection took `gc_pause` seconds or more, asyncio or not: `gc.duration` in
      seconds, `cpython.gc.generation`, `gc.collected`.

    Tasks that were there before are not measured.
    """

    def __init__(
        self, get_current_span: Callable[[], Span | None], *, stall: float = 0.1, gc_pause: float = 0.01
    ) -> None:
        self.stall = stall
        self._gc_pause = gc_pause
        self._gc_started = 0.0
        self._get_current_span = get_current_span
        watch(self)
        gc.callbacks.append(self._on_gc)

    def shutdown(self, timeout: float) -> bool:
        """Stop measuring; loops and the collector are as they were before."""
        unwatch(self)
        if self._on_gc in gc.callbacks:
            gc.callbacks.remove(self._on_gc)
        return True

    def on_start(self, span: Span, parent: TraceContext | None) -> None:
        """Remember how long the task has run."""
        step = current_step()
        if step is None or step.task is None:
            adopt()
            return
        mark = _Mark()
        mark.task = task = step.task
        mark.started = now = perf_counter()
        mark.ran = task.running(now)
        span.set_attribute(RUNNING, mark)

    def on_ending(self, span: Span) -> None:
        """Say how long the task ran meanwhile."""
        mark = span._attributes.get(RUNNING)
        if type(mark) is not _Mark:
            return
        now = perf_counter()
        running = mark.task.running(now) - mark.ran
        span._attributes[RUNNING] = running
        span.set_attribute(WAITING, max(0.0, now - mark.started - running))
        step = current_step()
        if step is None or step.task is not mark.task or step.reported:
            return
        # The innermost span that was there for most of a stall gets it, and ends first.
        seconds = now - step.started
        if seconds >= self.stall and now - mark.started >= seconds / 2:
            step.reported = True
            _add_stall(span, step, seconds)

    def on_stall(self, step: Step, seconds: float) -> None:
        """A step that no span ended in took that long: it belongs to the span that is current."""
        span = self._get_current_span()
        if span is not None:
            _add_stall(span, step, seconds)

    def _on_gc(self, phase: str, info: Mapping[str, Any]) -> None:
        if phase == "start":
            self._gc_started = perf_counter()
            return
        seconds = perf_counter() - self._gc_started
        if seconds < self._gc_pause:
            return
        try:
            span = self._get_current_span()
            if span is not None:
                details = {
                    "gc.duration": seconds,
                    "cpython.gc.generation": info["generation"],
                    "gc.collected": info["collected"],
                }
                span.add_event("gc.pause", details)
        except Exception:  # noqa: S110 - the collector runs anywhere, in logging too: nothing can be said here
            pass


class _Mark(float):
    """The clock of a task when a span started. To whoever reads it meanwhile it is 0.

    It is the attribute's value until the span ends, so that a span that never ends leaves nothing behind.
    """

    __slots__ = ("ran", "started", "task")

    task: TimedCoroutine
    ran: float
    started: float


def _add_stall(span: Span, step: Step, seconds: float) -> None:
    details: dict[str, Any] = {"event_loop.stall.duration": seconds}
    stack = step.blocking_stack()
    if stack is not None:
        details["code.stacktrace"] = stack
    span.add_event("event_loop.stall", details)
