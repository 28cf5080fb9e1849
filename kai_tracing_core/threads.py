"""Thread pools and threads that run under the span that was current when the work was handed to them.

`asyncio.create_task` and `asyncio.to_thread` carry the context by themselves; `loop.run_in_executor`, the pools of
`concurrent.futures` and plain threads do not. For single ones there are `tracing.wrap` and `tracing.executor`; here it
is switched on for the whole process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from threading import Thread
from typing import Any

__all__ = ["trace_threads", "untrace_threads"]

_lock = threading.Lock()
_originals: tuple[Any, Any] | None = None


def trace_threads() -> None:
    """Have every `ThreadPoolExecutor` and every `Thread` carry the context (span, baggage); again, do nothing.

    The context is that of the call of `submit`, `map` or `start`.
    """
    global _originals  # noqa: PLW0603 - what is patched is the process's, too
    with _lock:
        if _originals is None:
            _originals = submit, start = ThreadPoolExecutor.submit, Thread.start
            ThreadPoolExecutor.submit = _submitting(submit)  # type: ignore[method-assign]  # what is patched
            Thread.start = _starting(start)  # type: ignore[assignment,method-assign]  # what is patched


def untrace_threads() -> None:
    """Undo `trace_threads`; what runs already keeps its context."""
    global _originals  # noqa: PLW0603 - as above
    with _lock:
        if _originals is not None:
            ThreadPoolExecutor.submit, Thread.start = _originals  # type: ignore[method-assign]  # what is patched
            _originals = None


def _submitting(submit: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
    def traced(self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        # In an empty context, lest the pool's own threads keep the span of whoever was the first to need them.
        return Context().run(submit, self, copy_context().run, fn, *args, **kwargs)

    return traced


def _starting(start: Callable[[Thread], None]) -> Callable[[Thread], None]:
    def traced(self: Thread) -> None:
        context, run = copy_context(), self.run

        def run_in_context() -> None:
            vars(self).pop("run", None)
            context.run(run)

        self.run = run_in_context  # type: ignore[method-assign]  # what is patched
        try:
            start(self)
        except BaseException:
            vars(self).pop("run", None)  # it runs already, or cannot run at all
            raise

    return traced
