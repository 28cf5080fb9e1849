"""The sampler that `TRACING_SAMPLER=every_nth` chooses."""

from __future__ import annotations

from itertools import count

from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult

__all__ = ["EveryNth"]


class EveryNth(Sampler):
    """Keeps the first of every `n` traces that start here, and follows the decision about all others."""

    inherits_local = True

    def __init__(self, n: str | int = 10) -> None:
        """`n` is `TRACING_SAMPLER_ARG`, which is text."""
        self._n = int(n)
        if self._n < 1:
            raise ValueError(f"every_nth needs a number of at least 1, not {n}")
        self._count = count()
        self._keep = SamplingResult(SamplingDecision.RECORD_AND_SAMPLE, adjusted_count=float(self._n))

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """The parent's decision or, where there is none, whether it is this one's turn."""
        parent = request.parent
        if parent is not None and parent.has_decision:
            keep = parent.is_sampled
            return SamplingResult(SamplingDecision.RECORD_AND_SAMPLE if keep else SamplingDecision.DROP)
        return self._keep if next(self._count) % self._n == 0 else SamplingResult(SamplingDecision.DROP)

    @property
    def description(self) -> str:
        """`EveryNth{10}`."""
        return f"EveryNth{{{self._n}}}"
