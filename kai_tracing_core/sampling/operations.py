"""State by operation, in bounded memory, and how often an operation comes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from kai_tracing_core.sampling.forking import after_fork

__all__ = ["OTHERS", "ArrivalRate", "OperationRates", "Operations"]

OTHERS = "\0others"
"""Under this name go the operations past the limit, together."""


class _Aging(Protocol):
    seen: float


S = TypeVar("S", bound=_Aging)


class Operations(Generic[S]):
    """The state of each operation that was seen in the last `idle` seconds; at most `limit` of them. Not locked."""

    def __init__(self, create: Callable[[float], S], *, limit: int, idle: float) -> None:
        self._create = create
        self._limit = limit
        self._idle = idle
        self._states: OrderedDict[str, S] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def values(self) -> list[S]:
        """The states, the one that was not seen for longest first."""
        return list(self._states.values())

    def get(self, name: str, now: float) -> S:
        """The state of an operation, made if it is new; shared by all that come after the limit is reached."""
        states = self._states
        state = states.get(name)
        if state is None:
            if len(states) >= self._limit:
                name = OTHERS
                state = states.get(name)
            if state is None:
                state = states[name] = self._create(now)
        states.move_to_end(name)
        state.seen = now
        return state

    def pop_idle(self, now: float) -> S | None:
        """Forget one operation that was not seen for long, and give its state; None when there is none."""
        states = self._states
        if states and now - next(iter(states.values())).seen > self._idle:
            return states.popitem(last=False)[1]
        return None


class ArrivalRate:
    """Arrivals per second, estimated over windows: up at once, down by half a window after the other."""

    __slots__ = ("_before", "_count", "_started", "_window", "seen")

    def __init__(self, now: float, window: float) -> None:
        self._window = window
        self._started = self.seen = now
        self._count = 0
        self._before = 0.0

    def arrive(self, now: float) -> float:
        """Count an arrival; the rate, this one included."""
        elapsed = now - self._started
        if elapsed >= self._window:
            windows = int(elapsed // self._window)
            rate = self._count / self._window
            self._before = max(rate, (self._before + rate) / 2) * 0.5 ** min(windows - 1, 60)
            self._started += windows * self._window
            self._count = 0
        self._count += 1
        return max(self._before, self._count / self._window)


class OperationRates:
    """How often each operation comes. Thread-safe."""

    def __init__(self, clock: Callable[[], float], *, window: float, limit: int) -> None:
        self._clock = clock
        self._operations = Operations(lambda now: ArrivalRate(now, window), limit=limit, idle=window * 60)
        self.after_fork()
        after_fork(self)

    def after_fork(self) -> None:
        """Use a lock that nobody holds."""
        # Reentrant: the garbage collector may end, and start, spans while it is held.
        self._lock = threading.RLock()

    def arrive(self, name: str) -> float:
        """Count an arrival of an operation; its rate per second, this one included."""
        now = self._clock()
        with self._lock:
            self._operations.pop_idle(now)
            return self._operations.get(name, now).arrive(now)
