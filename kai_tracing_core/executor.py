"""Thread pools whose tasks know the span that they belong to; imported when one is asked for."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar, cast

__all__ = ["TracedThreadPoolExecutor"]

P = ParamSpec("P")
R = TypeVar("R")


class TracedThreadPoolExecutor(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` whose tasks run under the span that was current when they were submitted."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Schedule `fn(*args, **kwargs)` with the submitter's context."""
        return super().submit(cast("Callable[..., R]", contextvars.copy_context().run), fn, *args, **kwargs)
