"""What the sampler tests share: requests, a clock that is set, and the pipeline with what comes out of it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from kai_tracing_core.processing.pipeline import PipelineConfig, SpanPipeline
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult
from kai_tracing_core.span import Span, SpanKind
from kai_tracing_core.trace_context import TraceContext


class Clock:
    """A clock in seconds that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Collector(SpanProcessor):
    """A queue that keeps what it gets."""

    trusted = True

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.shut_down = False

    def on_end(self, span: Span) -> None:
        self.spans.append(span)

    def shutdown(self, timeout: float) -> bool:
        self.shut_down = True
        return True

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]


class SeededIds:
    """Random ids that are the same in every run."""

    def __init__(self, seed: int) -> None:
        generator = random.Random(seed)
        self.trace_id = lambda: generator.getrandbits(128)
        self.span_id = lambda: generator.getrandbits(64)


def ask(
    sampler: Sampler,
    trace_id: int = 1,
    name: str = "name",
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, Any] | None = None,
    parent: TraceContext | None = None,
) -> SamplingResult:
    """The sampler's answer about one span."""
    return sampler.should_sample(SamplingRequest(trace_id, name, kind, attributes or {}, parent))


def keeps(result: SamplingResult) -> bool:
    """Whether the answer is to sample."""
    return result.decision == SamplingDecision.RECORD_AND_SAMPLE


def pipeline(sampler: Sampler, seed: int = 1) -> tuple[SpanPipeline, Collector]:
    """A pipeline with this sampler, and what ends in it."""
    collector = Collector()
    sink = sampler.wrap_sink(collector)
    return SpanPipeline(PipelineConfig(sampler=sampler, ids=SeededIds(seed)), sink), collector
