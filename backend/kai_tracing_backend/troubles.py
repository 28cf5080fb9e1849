"""Troubles of which there may be many a second: the log has their beginning, a count now and then, and their end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

__all__ = ["Trouble"]


class Trouble:
    """Something that goes wrong again and again. Its methods may be called from any thread, as often as it happens.

    Never more than one line about it, and one that it is over, come in `interval` seconds: what is on and off all the
    time fills no disk either.
    """

    def __init__(
        self, logger: logging.Logger, *, interval: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._interval = interval
        self._clock = clock
        self._lock = threading.Lock()
        self._told = False  # that it goes wrong, and not yet that it is over
        self._untold = 0
        self._next = float("-inf")

    def happened(self, message: str, *, level: int = logging.ERROR, traceback: bool = False) -> None:
        """It went wrong. A line says so where one is due, with how often it did since the last one.

        `traceback` adds that of the exception that is being handled.
        """
        with self._lock:
            if (now := self._clock()) < self._next:
                self._untold += 1
                return
            often = f" (and {self._untold} times more since this was logged last)" if self._untold else ""
            self._told, self._untold, self._next = True, 0, now + self._interval
        self._logger.log(level, "%s%s", message, often, exc_info=traceback)

    def over(self, message: str) -> None:
        """It went well. A line says so where the last one said that it does not; costs nothing where none did."""
        if not self._told:
            return
        with self._lock:
            told, self._told = self._told, False
            often = f"; meanwhile it failed {self._untold} times more" if self._untold else ""
            self._untold = 0
        if told:
            self._logger.warning("%s%s", message, often)
