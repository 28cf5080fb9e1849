"""Roots that a sampler drops by their trace id alone: the short way gives the same decisions as the long one."""

from __future__ import annotations

from typing import Any

import pytest

from kai_tracing_core.processing.pipeline import PipelineConfig, SpanPipeline
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.sampling.always import AlwaysOff
from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult
from kai_tracing_core.sampling.consistent_probability import ConsistentProbability
from kai_tracing_core.sampling.parent_based import ParentBased
from kai_tracing_core.sampling.ratio import TraceIdRatio
from kai_tracing_core.span import SpanKind


class _Ids:
    """Trace ids that were given beforehand."""

    def __init__(self, trace_ids: list[int]) -> None:
        self.trace_id = iter(trace_ids).__next__
        self.span_id = iter(range(1, 1000)).__next__


_IDS = [number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128 for number in range(1, 200)]


@pytest.mark.parametrize(
    "sampler", [AlwaysOff(), TraceIdRatio(0.25), ConsistentProbability(0.25), ParentBased(TraceIdRatio(0.5))], ids=repr
)
def test_the_short_way_decides_like_the_sampler(sampler: Sampler) -> None:
    """Every root keeps the id it was decided by, and is recorded just where `should_sample` says so."""
    pipeline = SpanPipeline(PipelineConfig(sampler=sampler, ids=_Ids(list(_IDS))), SpanProcessor())
    spans = [pipeline.start("root") for _ in _IDS]
    decisions = [sampler.should_sample(SamplingRequest(trace_id, "root", SpanKind.INTERNAL, {})) for trace_id in _IDS]
    assert [span._trace_id for span in spans] == _IDS
    assert [span.is_recording() for span in spans] == [bool(decision.decision) for decision in decisions]
    assert pipeline.unsampled == sum(not span.is_recording() for span in spans)


def test_what_the_short_way_raises_on_is_left_to_the_sampler(caplog: pytest.LogCaptureFixture) -> None:
    """A `drops_root` that raises is logged once and counts as no answer."""

    class Broken(Sampler):
        def drops_root(self, trace_id: int) -> bool:
            raise RuntimeError("broken")

        def should_sample(self, request: SamplingRequest) -> SamplingResult:
            return SamplingResult(SamplingDecision.RECORD_AND_SAMPLE)

        @property
        def description(self) -> str:
            return "Broken"

    pipeline: Any = SpanPipeline(PipelineConfig(sampler=Broken()), SpanProcessor())
    assert pipeline.start("root").is_recording()
    assert pipeline.start("root").is_recording()
    assert len(caplog.records) == 1
