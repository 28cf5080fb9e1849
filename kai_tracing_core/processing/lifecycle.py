"""Exit and fork: every processor is shut down at the first and made anew after the second."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from functools import cache
from typing import Any, Protocol

from kai_tracing_core.lazy import lazy_logger

__all__ = ["register", "register_fork"]

logger = lazy_logger(__name__)


class _Forking(Protocol):
    def after_fork(self) -> None: ...


class _Managed(_Forking, Protocol):
    @property
    def options(self) -> Any: ...
    def shutdown(self, timeout: float) -> bool: ...


_managed: weakref.WeakSet[Any] = weakref.WeakSet()
_first: weakref.WeakSet[Any] = weakref.WeakSet()
_forking: weakref.WeakSet[Any] = weakref.WeakSet()


def register(processor: _Managed, *, before_others: bool = False) -> None:
    """Have `processor` shut down at exit, within its `options.exit_timeout`, and told of a fork in the child.

    What holds spans back for another one must be shut down before it: `before_others`.
    """
    (_first if before_others else _managed).add(processor)
    _follow_multiprocessing()


def register_fork(item: _Forking) -> None:
    """Have `item` told of a fork in the child; for what has nothing to do at exit."""
    _forking.add(item)


def _shutdown_all() -> None:
    for processor in (*_first, *_managed):
        try:
            processor.shutdown(processor.options.exit_timeout)
        except Exception:
            logger.exception("shutting down %r failed", processor)


def _after_fork() -> None:
    for processor in (*_first, *_managed, *_forking):
        try:
            processor.after_fork()
        except Exception:
            logger.exception("%r does not survive the fork", processor)
    _follow_multiprocessing()


def _follow_multiprocessing() -> None:
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        _finalize_in_children(util)


@cache
def _finalize_in_children(util: Any) -> None:
    # A child of multiprocessing leaves by os._exit, which skips atexit, but runs its own finalizers. Those there are
    # when it begins are discarded, so they are made by what it calls then, however it was started.
    util.register_after_fork(_shutdown_all, lambda _: util.Finalize(None, _shutdown_all, exitpriority=0))


atexit.register(_shutdown_all)
if hasattr(os, "register_at_fork"):  # pragma: no branch - else Windows
    os.register_at_fork(after_in_child=_after_fork)
