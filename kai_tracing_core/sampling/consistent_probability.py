"""The default way to keep a share of the traces: consistent between services, and countable."""

from __future__ import annotations

from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult
from kai_tracing_core.sampling.threshold import (
    NEVER,
    adjusted_count,
    encode,
    randomness,
    read,
    threshold,
    with_threshold,
)

__all__ = ["ConsistentProbability", "sample_at"]

_DROP = SamplingResult(SamplingDecision.DROP)
_MASK = NEVER - 1


def sample_at(request: SamplingRequest, rejection: int) -> SamplingResult:
    """The consistent decision at a threshold: kept where the trace's randomness reaches it.

    A parent's threshold is only ever raised: what the parent left out stays out, and of what it kept the higher of
    the two thresholds decides. Where a sampled parent's `th` contradicts the trace's randomness, the probability is
    not known, and `th` is erased.
    """
    parent = request.parent
    state = request.trace_state
    decided = parent is not None and parent.has_decision
    if parent is not None and decided and not parent.is_sampled:
        return SamplingResult(SamplingDecision.DROP, None, with_threshold(state, None)) if state else _DROP
    th, rv = read(state)
    value = randomness(request.trace_id, rv)
    trusted = True
    if th is not None and decided:
        trusted = value >= th
        rejection = max(rejection, th) if trusted else rejection
    if value < rejection:
        return SamplingResult(SamplingDecision.DROP, None, with_threshold(state, None)) if state else _DROP
    return SamplingResult(
        SamplingDecision.RECORD_AND_SAMPLE,
        None,
        with_threshold(state, rejection if trusted else None),
        adjusted_count(rejection) if trusted else None,
    )


class ConsistentProbability(Sampler):
    """Keeps a share of the traces (OpenTelemetry specification, "TraceState: Probability Sampling").

    Every service decides from the trace's own randomness, so a service with a lower probability keeps a subset of
    what one with a higher keeps, and `th` in `tracestate` tells everybody how many spans each kept one stands for.
    """

    inherits_local = True  # the same trace has the same randomness

    def __init__(self, probability: float) -> None:
        self.probability = probability
        rejection = self._threshold = threshold(probability)
        self.drops_root = lambda trace_id: trace_id & _MASK < rejection
        kept = self._threshold < NEVER
        self._keep = SamplingResult(
            SamplingDecision.RECORD_AND_SAMPLE,
            trace_state=f"ot=th:{encode(self._threshold)}" if kept else None,
            adjusted_count=adjusted_count(self._threshold) if kept else None,
        )

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """Keep where the randomness reaches the threshold."""
        if request.parent is None:
            return self._keep if request.trace_id & _MASK >= self._threshold else _DROP
        return sample_at(request, self._threshold)

    @property
    def description(self) -> str:
        """`ConsistentProbability{0.1}`."""
        return f"ConsistentProbability{{{self.probability}}}"
