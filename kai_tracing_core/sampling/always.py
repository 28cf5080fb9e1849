"""Samplers that need not think."""

from __future__ import annotations

from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult
from kai_tracing_core.sampling.threshold import with_threshold

__all__ = ["AlwaysOff", "AlwaysOn"]

_KEEP = SamplingResult(SamplingDecision.RECORD_AND_SAMPLE, adjusted_count=1.0)
_DROP = SamplingResult(SamplingDecision.DROP)


class AlwaysOn(Sampler):
    """Records every span, whatever its parent's decision."""

    always = True
    inherits_local = True

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """Record, and erase the `th` of a parent by which the span was not chosen."""
        state = request.trace_state
        if "th:" not in state:
            return _KEEP
        return SamplingResult(_KEEP.decision, trace_state=with_threshold(state, None), adjusted_count=1.0)

    @property
    def description(self) -> str:
        """`AlwaysOn`."""
        return "AlwaysOn"


class AlwaysOff(Sampler):
    """Records no span."""

    inherits_local = True
    drops_root = staticmethod(lambda _: True)

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """Drop."""
        return _DROP

    @property
    def description(self) -> str:
        """`AlwaysOff`."""
        return "AlwaysOff"
