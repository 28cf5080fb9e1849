"""OpenTelemetry's original ratio sampler."""

from __future__ import annotations

from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult
from kai_tracing_core.sampling.threshold import with_threshold

__all__ = ["TraceIdRatio", "keep_with_count"]

_DROP = SamplingResult(SamplingDecision.DROP)
_LOW_64_BITS = (1 << 64) - 1


def keep_with_count(request: SamplingRequest, kept: SamplingResult) -> SamplingResult:
    """`kept`, with the parent's `th` erased: the span was not chosen by that threshold."""
    state = request.trace_state
    if "th:" not in state:
        return kept
    return SamplingResult(kept.decision, kept.attributes, with_threshold(state, None), kept.adjusted_count)


class TraceIdRatio(Sampler):
    """Keeps a ratio of the traces, with the decisions of OpenTelemetry's `TraceIdRatioBased`.

    For services that share traces with ones sampled that way; elsewhere `ConsistentProbability` is the better
    choice, since what it keeps can be counted by everybody downstream.
    """

    inherits_local = True  # the same trace has the same randomness

    def __init__(self, ratio: float) -> None:
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(f"a ratio is between 0 and 1, not {ratio}")
        self.ratio = ratio
        bound = self._bound = round(ratio * (1 << 64))
        self.drops_root = lambda trace_id: trace_id & _LOW_64_BITS >= bound
        count = 1 / ratio if ratio else None
        self._keep = SamplingResult(SamplingDecision.RECORD_AND_SAMPLE, adjusted_count=count)

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """Keep where the last 64 bits of the trace id are below the ratio."""
        if request.trace_id & _LOW_64_BITS >= self._bound:
            return _DROP
        return keep_with_count(request, self._keep)

    @property
    def description(self) -> str:
        """`TraceIdRatioBased{0.1}`."""
        return f"TraceIdRatioBased{{{self.ratio}}}"
