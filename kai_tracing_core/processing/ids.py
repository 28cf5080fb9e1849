"""Where trace ids and span ids come from."""

from __future__ import annotations

import os
import random
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from struct import Struct
from typing import Protocol

__all__ = ["IdGenerator", "IdStock", "RandomIds"]

_BLOCK = 64
_numbers = Struct(f"{_BLOCK}Q").unpack


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

    def span_ids(self) -> Sequence[int]:
        """A block of span ids, none of them 0: drawn together each takes two thirds of the time."""
        ids = _numbers(self._generator.getrandbits(64 * _BLOCK).to_bytes(8 * _BLOCK, "little"))
        return ids if all(ids) else self.span_ids()

    def reseed(self) -> None:
        """Start another sequence."""
        self._generator.seed(os.urandom(32))


class IdStock:
    """Span ids that are ready to be taken, which counts the spans, too.

    `spare.pop()` takes one, `more()` where that raises IndexError: a counter of its own would cost 3 % of a span.
    """

    def __init__(self, ids: IdGenerator) -> None:
        self.spare: list[int] = []
        self._drawn = 0
        self._draw: Callable[[], Sequence[int]] = getattr(ids, "span_ids", lambda: (ids.span_id() or 1,))

    def more(self) -> int:
        """Take the first of new ones, and keep the others."""
        first, *others = self._draw()
        drawn = 1 + len(others)
        self._drawn += drawn  # without a call in it: there another thread or a signal handler may come between
        self.spare.extend(others)
        return first

    @property
    def taken(self) -> int:
        """How many ids were taken."""
        waiting = len(self.spare)  # first: what is drawn meanwhile is counted too early, not taken off
        return self._drawn - waiting

    def reset(self) -> None:
        """In a forked child: no ids that the parent has, too, and count from zero."""
        self.spare.clear()
        self._drawn = 0


_instances: weakref.WeakSet[RandomIds] = weakref.WeakSet()


def _reseed_all() -> None:
    for instance in list(_instances):
        instance.reseed()


if hasattr(os, "register_at_fork"):  # pragma: no branch - else Windows
    os.register_at_fork(after_in_child=_reseed_all)
