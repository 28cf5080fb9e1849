"""No more than so many traces per second, shared fairly between the operations."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult
from kai_tracing_core.sampling.forking import after_fork
from kai_tracing_core.sampling.operations import Operations
from kai_tracing_core.sampling.ratio import keep_with_count

__all__ = ["RateLimiting"]

_DROP = SamplingResult(SamplingDecision.DROP)
_SWEEP = 0.1  # seconds between two looks for shares that nobody uses
_IDLE = 60.0


class _Share:
    """One operation's part of the bucket, and how many of its traces were dropped since the last kept one."""

    __slots__ = ("claimed", "missed", "seen", "tokens")

    def __init__(self, claimed: float) -> None:
        self.claimed = claimed
        self.tokens = 0.0
        self.seen = 0.0
        self.missed = -1  # nothing was asked yet


class RateLimiting(Sampler):
    """A token bucket: at most `rate` traces per second and process, in bursts of at most `burst`.

    Every operation gets an equal share of the tokens; what some leave unused goes to the others. So a chatty
    operation takes all there is while it is alone, and cannot starve a rare one. Whether a trace is kept does not
    follow from its id, so `th` is erased; the adjusted count is an estimate that adds up: a kept trace stands for
    itself and for those of its operation that were dropped since the one before.
    """

    def __init__(
        self,
        rate: float,
        *,
        burst: float | None = None,
        max_operations: int = 1000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rate` may be a fraction: 0.1 is one trace in ten seconds. `burst` defaults to a second's worth."""
        if rate < 0 or max_operations < 1 or (burst is not None and burst < 1):
            raise ValueError("rate must not be negative; burst and max_operations must be at least 1")
        self.rate = rate
        self.burst = max(1.0, rate) if burst is None else burst
        self._clock = clock
        self._updated = self._swept = clock()
        # Every token is an operation's or spare. `_claimed` is what a share has been due since the start.
        self._spare = self.burst
        self._claimed = 0.0
        self._shares = Operations(lambda _: _Share(self._claimed), limit=max_operations, idle=_IDLE)
        self.after_fork()
        after_fork(self)

    def after_fork(self) -> None:
        """Use a lock that nobody holds."""
        # Reentrant: the garbage collector may end, and start, spans while it is held.
        self._lock = threading.RLock()

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """Keep while there are tokens."""
        if not self.rate:
            return _DROP
        now = self._clock()
        with self._lock:
            self._refill(now)
            share = self._shares.get(request.name, now)
            newcomer = share.missed < 0
            self._settle(share)
            if not self._take(share, newcomer, now):
                share.missed = max(share.missed, 0) + 1
                return _DROP
            count = 1 + max(share.missed, 0)
            share.missed = 0
        return keep_with_count(request, SamplingResult(SamplingDecision.RECORD_AND_SAMPLE, adjusted_count=float(count)))

    def _refill(self, now: float) -> None:
        gain = max(0.0, now - self._updated) * self.rate
        self._updated = now
        while (idle := self._shares.pop_idle(now)) is not None:
            self._give(idle.tokens + self._claimed - idle.claimed)
        shares = len(self._shares)
        if not shares:
            self._give(gain)
            return
        if self._spare < 0:
            # What newcomers overdrew is paid back by everybody, half of the income at a time.
            gain /= 2
            self._give(gain)
        self._claimed += gain / shares

    def _give(self, tokens: float) -> None:
        self._spare = min(self.burst, self._spare + tokens)

    def _settle(self, share: _Share) -> None:
        """Pay out what the share was due since last time; what it has no room for is everybody's."""
        tokens = share.tokens + self._claimed - share.claimed
        share.claimed = self._claimed
        room = max(1.0, self.burst / max(1, len(self._shares)))
        share.tokens = min(room, tokens)
        if tokens > room:
            self._give(tokens - room)

    def _take(self, share: _Share, newcomer: bool, now: float) -> bool:
        if share.tokens >= 1:
            share.tokens -= 1
            return True
        if self._spare < 1 and now - self._swept >= _SWEEP:
            self._swept = now
            for other in self._shares.values():
                self._settle(other)
        # The first trace of an operation may overdraw, so that there is one of each.
        if self._spare >= 1 or (newcomer and self._spare > 1 - self.burst):
            self._spare -= 1
            return True
        return False

    @property
    def description(self) -> str:
        """`RateLimiting{100/s}`."""
        return f"RateLimiting{{{self.rate:g}/s}}"
