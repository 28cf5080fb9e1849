"""A target number of traces per second for every operation, by probabilities that follow the traffic."""

from __future__ import annotations

import time
from collections.abc import Callable

from kai_tracing_core.sampling.base import Sampler, SamplingRequest, SamplingResult
from kai_tracing_core.sampling.consistent_probability import sample_at
from kai_tracing_core.sampling.operations import OperationRates
from kai_tracing_core.sampling.threshold import threshold

__all__ = ["Adaptive"]


class Adaptive(Sampler):
    """Keeps about `target` traces per second of every operation, and all of an operation that comes less often.

    An operation's probability is `target` over its rate in the last windows, never below `floor`. A burst is met
    inside its window. The probability depends on what came before, not on the trace it is applied to, so the
    adjusted count 1 / p is right whatever the traffic does; `th` carries it on.
    """

    def __init__(
        self,
        target: float,
        *,
        floor: float = 0.001,
        window: float = 5.0,
        max_operations: int = 1000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`target` in traces per second; `floor` is a probability; `window` in seconds.

        Operations past `max_operations` share one target.
        """
        if target <= 0 or window <= 0 or max_operations < 1:
            raise ValueError("target, window and max_operations must be positive")
        if not 0.0 <= floor <= 1.0:
            raise ValueError(f"floor is a probability between 0 and 1, not {floor}")
        self.target = target
        self.floor = floor
        self._rates = OperationRates(clock, window=window, limit=max_operations)

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """Keep with the operation's probability of this moment."""
        rate = self._rates.arrive(request.name)
        return sample_at(request, threshold(max(self.floor, min(1.0, self.target / rate))))

    @property
    def description(self) -> str:
        """`Adaptive{10/s per operation}`."""
        return f"Adaptive{{{self.target:g}/s per operation}}"
