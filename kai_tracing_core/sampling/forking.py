"""What a forked child has to make anew: locks that another thread of the parent may have held, and threads."""

from __future__ import annotations

import logging
import os
import weakref
from typing import Any, Protocol

__all__ = ["after_fork"]

logger = logging.getLogger(__name__)


class _Forked(Protocol):
    def after_fork(self) -> None: ...


_registered: weakref.WeakSet[Any] = weakref.WeakSet()


def after_fork(instance: _Forked) -> None:
    """Have `instance.after_fork()` called in forked children, as long as it lives."""
    _registered.add(instance)


def _run() -> None:
    for instance in list(_registered):
        try:
            instance.after_fork()
        except Exception:
            logger.exception("%r does not survive the fork", instance)


if hasattr(os, "register_at_fork"):  # pragma: no branch - else Windows
    os.register_at_fork(after_in_child=_run)
