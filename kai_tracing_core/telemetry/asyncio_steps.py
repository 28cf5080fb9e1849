"""Where the time of an asyncio event loop goes: how long each task runs, and which of its steps hold up the others.

A task factory puts a `TimedCoroutine` around the coroutine of every new task; it measures each step, from one `await`
that has to wait to the next. Where the application has a task factory, that one is called with it. There is one
instrumentation in the process, for as long as somebody watches.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine, Generator
from time import perf_counter
from types import FrameType
from typing import Any, Protocol
from weakref import WeakSet

from kai_tracing_core.processing import lifecycle

__all__ = ["Step", "TimedCoroutine", "TimedTask", "Watcher", "adopt", "current_step", "unwatch", "watch"]

logger = logging.getLogger(__name__)

_FRAMES = 32
_CHARACTERS = 4000
_LONGEST_WAIT = 60.0


class Watcher(Protocol):
    """Who is told of steps that take `stall` seconds or more."""

    stall: float

    def on_stall(self, step: Step, seconds: float) -> None:
        """A step took that long. On the loop's thread, in the context of the task."""


class Step:
    """What runs on one thread's event loop now; reused for each step."""

    __slots__ = ("reported", "sampled", "stack", "started", "task", "thread")

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.task: TimedCoroutine | None = None  # None between steps
        self.started = 0.0
        self.reported = False
        self.sampled = 0.0  # the start of the step that `stack` is of
        self.stack = ""

    def blocking_stack(self) -> str | None:
        """Where the step was when it began to be a stall; None where nobody could look, as C code held the GIL."""
        return self.stack if self.sampled == self.started else None


class _Here(threading.local):
    step: Step | None = None


_here = _Here()


def current_step() -> Step | None:
    """The step that runs on this thread; None where no measured task does."""
    step = _here.step
    return step if step is not None and step.task is not None else None


class TimedCoroutine(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are measured; in all else, as far as a task can tell, the one it was made of."""

    __slots__ = ("__weakref__", "_outer", "_since", "_total", "wrapped")

    def __init__(self, wrapped: Coroutine[Any, Any, Any]) -> None:
        self.wrapped = wrapped
        self._outer: TimedCoroutine | None = None
        self._total = self._since = 0.0

    def running(self, now: float) -> float:
        """Seconds that it ran until `now` (of `perf_counter`)."""
        since = self._since
        return self._total + (now - since if since else 0.0)

    def send(self, value: Any) -> Any:
        """Run one step."""
        step = self._enter()
        try:
            return self.wrapped.send(value)
        finally:
            self._leave(step)

    def throw(self, *error: Any) -> Any:
        """Run one step that begins with an exception, such as a cancellation."""
        step = self._enter()
        try:
            return self.wrapped.throw(*error)
        finally:
            self._leave(step)

    def close(self) -> None:
        """Close the coroutine."""
        self.wrapped.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.wrapped.__await__()

    def __getattr__(self, name: str) -> Any:
        # cr_frame, cr_code, cr_await, __qualname__ …, from which a task's stack and its text are made.
        return getattr(self.wrapped, name)

    def _enter(self) -> Step:
        step = _here.step
        if step is None:
            step = _here.step = _watch.new_step()
        now = perf_counter()
        outer = step.task
        if outer is None:
            step.started = now
            step.reported = False
            if _watch.sleeps:
                _watch.wake()
        else:  # pragma: no cover - Python 3.12: an eager task runs inside a step of the one that made it
            outer._total += now - outer._since
            outer._since = 0.0
        self._outer = outer
        self._since = now
        step.task = self
        return step

    def _leave(self, step: Step) -> None:
        now = perf_counter()
        self._total += now - self._since
        self._since = 0.0
        step.task = outer = self._outer
        self._outer = None
        if outer is not None:
            outer._since = now  # pragma: no cover - Python 3.12
        elif now - step.started >= _watch.stall and not step.reported:
            _watch.report(step, now - step.started)


class TimedTask(asyncio.Task[Any]):
    """A task that gives the coroutine it was made of."""

    def get_coro(self) -> Any:
        """The coroutine."""
        coroutine = super().get_coro()
        return coroutine.wrapped if isinstance(coroutine, TimedCoroutine) else coroutine


class _Factory:
    """A task factory, in front of the one that was there."""

    def __init__(self, previous: Callable[..., Any] | None) -> None:
        self.previous = previous

    def __call__(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        if _watch.watchers and asyncio.iscoroutine(coroutine):
            coroutine = TimedCoroutine(coroutine)
            if self.previous is None:
                return TimedTask(coroutine, loop=loop, **options)
        elif self.previous is None:
            return asyncio.Task(coroutine, loop=loop, **options)
        return self.previous(loop, coroutine, **options)


class _Watch:
    """The one instrumentation: its task factories, its patch of `asyncio.new_event_loop`, and its watchdog thread."""

    def __init__(self) -> None:
        self.watchers: tuple[Watcher, ...] = ()
        self.stall = float("inf")
        self._loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        self._original: Callable[[], asyncio.AbstractEventLoop] | None = None
        self._reset()
        lifecycle.register_fork(self)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._steps: dict[int, Step] = {}
        self._thread: threading.Thread | None = None
        # A lock as a bell: unlike Event.set, releasing it is safe in a signal handler.
        self._bell = threading.Lock()
        self._bell.acquire()
        self.sleeps = True

    def after_fork(self) -> None:
        """In a forked child: the thread is gone, and so are other threads' loops."""
        self._reset()
        _here.step = None

    def add(self, watcher: Watcher) -> None:
        with self._lock:
            self.watchers += (watcher,)
            self._configure()

    def remove(self, watcher: Watcher) -> None:
        with self._lock:
            self.watchers = tuple(other for other in self.watchers if other is not watcher)
            self._configure()

    def _configure(self) -> None:
        self.stall = min((watcher.stall for watcher in self.watchers), default=float("inf"))
        if self.watchers:
            self._patch()
            self.adopt()
        else:
            self._restore()

    # -- loops -------------------------------------------------------------------------------------------------------

    def adopt(self) -> None:
        """Measure the tasks that the loop which runs here, if any, makes from now on."""
        loop = asyncio._get_running_loop()
        if loop is not None and type(loop.get_task_factory()) is not _Factory:
            self._install(loop)

    def _install(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.set_task_factory(_Factory(loop.get_task_factory()))
        self._loops.add(loop)

    def _patch(self) -> None:
        # So that the first task of asyncio.run is measured, too: there is no loop to adopt before it runs.
        if self._original is not None:
            return
        self._original = original = asyncio.events.new_event_loop

        def new_event_loop() -> asyncio.AbstractEventLoop:
            loop = original()
            if self.watchers:
                self._install(loop)
            return loop

        self._replacement = new_event_loop
        for module in (asyncio, asyncio.events):
            module.new_event_loop = new_event_loop  # type: ignore[attr-defined]  # not everything is declared there

    def _restore(self) -> None:
        for module in (asyncio, asyncio.events):
            if self._original is not None and module.new_event_loop is self._replacement:
                module.new_event_loop = self._original  # type: ignore[attr-defined]  # as above
        self._original = None
        for loop in list(self._loops):
            factory = loop.get_task_factory()
            if isinstance(factory, _Factory):
                loop.set_task_factory(factory.previous)
        self._loops.clear()
        thread, self._thread = self._thread, None
        self.wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(5.0)
        self.sleeps = True  # as at first: the next step starts a thread, if there is a watcher then

    # -- stalls ------------------------------------------------------------------------------------------------------

    def new_step(self) -> Step:
        """What runs on this thread, from its first measured step on."""
        step = Step()
        self._steps[step.thread] = step
        return step

    def report(self, step: Step, seconds: float) -> None:
        step.reported = True
        for watcher in self.watchers:
            try:
                if seconds >= watcher.stall:
                    watcher.on_stall(step, seconds)
            except Exception:
                logger.exception("%r raised; the task goes on", watcher)

    def wake(self) -> None:
        """Have the watchdog look at the step that begins."""
        self.sleeps = False
        if self._thread is None and self.watchers:
            self._start()
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it is ringing already

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return  # pragma: no cover - another thread was quicker
            thread = threading.Thread(target=self._run, name="kai-tracing-asyncio", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # pragma: no cover - no thread can be started while the interpreter ends
                return
            self._thread = thread

    def _run(self) -> None:
        """Look at each step once when it has become a stall; sleep without polling while no loop does anything."""
        seen: dict[int, float] = {}
        while self.watchers and self._thread in (None, threading.current_thread()):
            self._bell.acquire(timeout=self._look())
            starts = self._starts()
            if starts == seen and not any(step.task for step in list(self._steps.values())):
                self.sleeps = True
                # What began, and who left, before the line above has not rung, or in vain.
                if self._starts() == starts and self.watchers:
                    self._bell.acquire()
                self.sleeps = False
            seen = starts

    def _starts(self) -> dict[int, float]:
        return {thread: step.started for thread, step in list(self._steps.items())}

    def _look(self) -> float:
        """Sample what stalls. Returns the seconds until the next step may have become a stall."""
        wait = min(self.stall, _LONGEST_WAIT)
        for step in list(self._steps.values()):
            started = step.started
            if step.task is None or step.sampled == started:
                continue
            left = started + self.stall - perf_counter()
            if left > 0:
                wait = min(wait, left)
            elif (frame := sys._current_frames().get(step.thread)) is not None:
                stack = _describe(frame)
                if step.started == started:
                    step.stack, step.sampled = stack, started
        return max(wait, 0.001)


def _describe(frame: FrameType) -> str:
    """The innermost frames, as a traceback has them, without those of the event loop around them."""
    summary = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_FRAMES, lookup_lines=False)
    frames = []
    for entry in summary:
        if entry.filename == __file__:
            break
        frames.append(entry)
    text = "".join(traceback.StackSummary.from_list(frames[::-1]).format())
    return text[-_CHARACTERS:]


_watch = _Watch()


def watch(watcher: Watcher) -> None:
    """Measure the tasks that are made from now on, and tell `watcher` of stalls."""
    _watch.add(watcher)


def unwatch(watcher: Watcher) -> None:
    """Stop telling `watcher`; with the last one everything is as it was before."""
    _watch.remove(watcher)


def adopt() -> None:
    """Measure the tasks of the loop that runs here, where that began before somebody watched."""
    if _watch.watchers:
        _watch.adopt()
