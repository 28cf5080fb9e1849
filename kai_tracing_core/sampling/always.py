"""Samplers that need not think."""

from __future__ import annotations

from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult

__all__ = ["AlwaysOff", "AlwaysOn"]

_KEEP = SamplingResult(SamplingDecision.RECORD_AND_SAMPLE, adjusted_count=1.0)
_DROP = SamplingResult(SamplingDecision.DROP)


class AlwaysOn(Sampler):
    """Records every span, whatever its parent's decision."""

    always = True

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """Record."""
        return _KEEP

    @property
    def description(self) -> str:
        """`AlwaysOn`."""
        return "AlwaysOn"


class AlwaysOff(Sampler):
    """Records no span."""

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """Drop."""
        return _DROP

    @property
    def description(self) -> str:
        """`AlwaysOff`."""
        return "AlwaysOff"
