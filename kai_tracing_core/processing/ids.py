"""Where trace ids and span ids come from."""

from __future__ import annotations

import os
import random
import weakref
from collections.abc import Callable
from functools import partial
from typing import Protocol

__all__ = ["IdGenerator", "RandomIds"]


class IdGenerator(Protocol):
    """Makes ids as integers. May return 0, which the caller replaces."""

    trace_id: Callable[[], int]
    span_id: Callable[[], int]


class RandomIds:
    """Uniformly random ids, as the random flag of W3C Trace Context level 2 promises; other ones after a fork."""

    def __init__(self) -> None:
        generator = random.Random(os.urandom(32))
        self._generator = generator
        # Bound C methods: a Python function around them would double what an id costs.
        self.trace_id: Callable[[], int] = partial(generator.getrandbits, 128)
        self.span_id: Callable[[], int] = partial(generator.getrandbits, 64)
        _instances.add(self)

    def reseed(self) -> None:
        """Start another sequence."""
        self._generator.seed(os.urandom(32))


_instances: weakref.WeakSet[RandomIds] = weakref.WeakSet()


def _reseed_all() -> None:
    for instance in list(_instances):
        instance.reseed()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reseed_all)
