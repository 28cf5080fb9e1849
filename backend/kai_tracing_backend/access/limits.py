"""Rates that are kept: a bucket of what may be spent, which fills up again."""

from __future__ import annotations

import math
import threading
import time

__all__ = ["Bucket"]


class Bucket:
    """Lets `rate` a second through, and a second's worth, or one, at once after a pause.

    What it costs is known only afterwards: whoever begins while something is left may finish, and the next ones wait
    until the debt is paid. So the rate holds over time, and a request larger than it gets through, too.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = max(rate, 1.0)
        self._level = self._most
        self._at = time.monotonic()
        self._changing = threading.Lock()

    def wait(self) -> int:
        """Whole seconds until something may begin; 0 is now."""
        with self._changing:
            self._fill()
            return 0 if self._level > 0 else math.floor(-self._level / self._rate) + 1

    def spend(self, amount: float) -> None:
        """Something cost so much."""
        with self._changing:
            self._fill()
            self._level -= amount

    def _fill(self) -> None:
        now = time.monotonic()
        self._level = min(self._most, self._level + (now - self._at) * self._rate)
        self._at = now
