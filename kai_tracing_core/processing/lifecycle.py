"""Exit and fork: every processor is shut down at the first and made anew after the second."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import weakref
from typing import Any, Protocol

__all__ = ["register"]

logger = logging.getLogger(__name__)


class _Managed(Protocol):
    @property
    def options(self) -> Any: ...
    def shutdown(self, timeout: float) -> bool: ...
    def after_fork(self) -> None: ...


_managed: weakref.WeakSet[Any] = weakref.WeakSet()
_first: weakref.WeakSet[Any] = weakref.WeakSet()


def register(processor: _Managed, *, before_others: bool = False) -> None:
    """Have `processor` shut down at exit, within its `options.exit_timeout`, and told of a fork in the child.

    What holds spans back for another one must be shut down before it: `before_others`.
    """
    (_first if before_others else _managed).add(processor)
    # A child of multiprocessing that did not fork with this module loaded, as the fork server's do.
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        _finalize_at_exit(util)


def _shutdown_all() -> None:
    for processor in (*_first, *_managed):
        try:
            processor.shutdown(processor.options.exit_timeout)
        except Exception:
            logger.exception("shutting down %r failed", processor)


def _after_fork() -> None:
    for processor in (*_first, *_managed):
        try:
            processor.after_fork()
        except Exception:
            logger.exception("%r does not survive the fork", processor)
    # A child of multiprocessing leaves by os._exit, which skips atexit, but runs its own finalizers.
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(_shutdown_all, lambda _: _finalize_at_exit(util))


def _finalize_at_exit(util: Any) -> None:
    util.Finalize(None, _shutdown_all, exitpriority=0)


atexit.register(_shutdown_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
