"""What tail sampling decides by.

A policy gives the probability with which a trace is to be kept, 1 or 0 where it is certain. `or` is the highest
probability of several, `and` the lowest, `not` the opposite; the trace's own randomness decides in the end. So every
combination has one known probability, and whatever is kept by it stands for 1 / p traces.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from kai_tracing_core.sampling.operations import OperationRates, Operations
from kai_tracing_core.sampling.rules import holds, matcher
from kai_tracing_core.span import SpanStatusCode

__all__ = [
    "And",
    "AttributeMatch",
    "EndedSpan",
    "HasError",
    "Latency",
    "Not",
    "Or",
    "Probability",
    "Rate",
    "SlowestShare",
    "TailPolicy",
    "TailTrace",
]


class EndedSpan(Protocol):
    """What a policy sees of a span: times in nanoseconds since the epoch, attributes as they were set."""

    @property
    def name(self) -> str:
        """The operation."""

    @property
    def _start(self) -> int: ...
    @property
    def _end(self) -> int: ...
    @property
    def _status(self) -> int: ...
    @property
    def _attributes(self) -> Mapping[str, Any]: ...


class TailTrace:
    """One process's part of a trace, when its verdict is due: `root`, its local root, is None if that still runs.

    In a collector it is the whole trace, as far as it has arrived.
    """

    __slots__ = ("root", "spans")

    def __init__(self, spans: Sequence[EndedSpan], root: EndedSpan | None) -> None:
        self.spans = spans
        self.root = root

    @property
    def operation(self) -> str:
        """The local root's name, or empty."""
        return self.root.name if self.root is not None else ""

    @property
    def duration(self) -> float:
        """How long the local root took or, while it runs, what is known of it: seconds."""
        if self.root is not None:
            return (self.root._end - self.root._start) / 1e9
        return (max(span._end for span in self.spans) - min(span._start for span in self.spans)) / 1e9


class TailPolicy(ABC):
    """One reason to keep a trace. Asked once about each, under the sampler's lock: must be quick."""

    @abstractmethod
    def probability(self, trace: TailTrace) -> float:
        """The probability, from 0 to 1, with which to keep the trace; not to depend on the trace's id."""


class HasError(TailPolicy):
    """Traces in which a span failed."""

    def probability(self, trace: TailTrace) -> float:
        """1 where any span has status ERROR."""
        return 1.0 if any(span._status == SpanStatusCode.ERROR for span in trace.spans) else 0.0


class Latency(TailPolicy):
    """Traces whose local root took at least `threshold` seconds."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def probability(self, trace: TailTrace) -> float:
        """1 where it took that long."""
        return 1.0 if trace.duration >= self.threshold else 0.0


class _Durations:
    """A histogram of one operation's durations, in steps of 5 %; older ones count less and less."""

    __slots__ = ("_counts", "_due", "_limit", "_total", "seen")

    def __init__(self) -> None:
        self._counts: dict[int, float] = {}
        self._total = 0.0
        self._limit: float | None = None
        self._due = 0.0
        self.seen = 0.0

    def add(self, duration: float) -> None:
        step = math.floor(math.log(max(duration, 1e-7), _STEP))
        self._counts[step] = self._counts.get(step, 0.0) + 1
        self._total += 1
        if self._total >= _MEMORY:
            self._counts = {step: count / 2 for step, count in self._counts.items() if count > 0.25}
            self._total = sum(self._counts.values())
            self._due = 0.0

    def limit(self, share: float) -> float:
        """The duration that `share` of the operation's traces exceed; infinite before there are enough."""
        if self._total < _ENOUGH:
            return math.inf
        if self._limit is None or self._total >= self._due:
            self._limit = self._compute(share)
            self._due = self._total * 1.05
        return self._limit

    def _compute(self, share: float) -> float:
        wanted = share * self._total
        for step in sorted(self._counts, reverse=True):
            count = self._counts[step]
            if count >= wanted:
                return float(_STEP ** (step + 1 - wanted / count))
            wanted -= count
        return 0.0  # pragma: no cover - only where rounding loses a count


_STEP = 1.05
_MEMORY = 2000.0
_ENOUGH = 20


class SlowestShare(TailPolicy):
    """Traces slower than the running percentile (95, 99, …) of their operation.

    An operation's percentile is taken over its last thousand or two traces, within 5 %; the first twenty of an
    operation are not slow. Operations past `max_operations` share one percentile.
    """

    def __init__(
        self, percentile: float, *, max_operations: int = 1000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if not 0.0 < percentile < 100.0:
            raise ValueError(f"a percentile is between 0 and 100, not {percentile}")
        self.percentile = percentile
        self._share = 1 - percentile / 100
        self._clock = clock
        self._operations: Operations[_Durations] = Operations(lambda _: _Durations(), limit=max_operations, idle=3600.0)

    def probability(self, trace: TailTrace) -> float:
        """1 where the local root took longer than the percentile of those before it."""
        now = self._clock()
        self._operations.pop_idle(now)
        durations = self._operations.get(trace.operation, now)
        slow = trace.duration > durations.limit(self._share)
        durations.add(trace.duration)
        return 1.0 if slow else 0.0


class AttributeMatch(TailPolicy):
    """Traces with a span that has an attribute like this: equality, a glob, or a comparison such as `>= 500`."""

    def __init__(self, key: str, value: Any = "*") -> None:
        self.key = key
        self._test = matcher(value)

    def probability(self, trace: TailTrace) -> float:
        """1 where any span's attribute matches."""
        key, test = self.key, self._test
        found = (span._attributes[key] for span in trace.spans if key in span._attributes)
        return 1.0 if any(holds(test, value) for value in found) else 0.0


class Probability(TailPolicy):
    """A share of all traces."""

    def __init__(self, share: float) -> None:
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"a probability is between 0 and 1, not {share}")
        self.share = share

    def probability(self, trace: TailTrace) -> float:
        """The share."""
        return self.share


class Rate(TailPolicy):
    """About so many traces per second of each operation, by a probability that follows the traffic."""

    def __init__(
        self,
        traces_per_second: float,
        *,
        window: float = 5.0,
        max_operations: int = 1000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if traces_per_second <= 0:
            raise ValueError("a rate must be positive")
        self.rate = traces_per_second
        self._rates = OperationRates(clock, window=window, limit=max_operations)

    def probability(self, trace: TailTrace) -> float:
        """The rate that is wanted over the one there is."""
        return min(1.0, self.rate / self._rates.arrive(trace.operation))


class Or(TailPolicy):
    """Traces that any of the policies keeps."""

    def __init__(self, *policies: TailPolicy) -> None:
        self.policies = policies

    def probability(self, trace: TailTrace) -> float:
        """The highest. All are asked, since some learn from what they see."""
        return max([policy.probability(trace) for policy in self.policies], default=0.0)


class And(TailPolicy):
    """Traces that every one of the policies keeps."""

    def __init__(self, *policies: TailPolicy) -> None:
        self.policies = policies

    def probability(self, trace: TailTrace) -> float:
        """The lowest. All are asked, since some learn from what they see."""
        return min([policy.probability(trace) for policy in self.policies], default=1.0)


class Not(TailPolicy):
    """Traces that the policy does not keep."""

    def __init__(self, policy: TailPolicy) -> None:
        self.policy = policy

    def probability(self, trace: TailTrace) -> float:
        """The opposite."""
        return 1.0 - self.policy.probability(trace)
