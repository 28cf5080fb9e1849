"""How many spans one stands for reaches the backend, whichever way its format has for it."""

from __future__ import annotations

from typing import Any

from kai_tracing_core.processing.otlp import read_request
from kai_tracing_core.processing.otlp_encoding import encode_request
from kai_tracing_core.processing.pipeline import PipelineConfig, SpanPipeline
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.processing.tags import ADJUSTED_COUNT, tags_of
from kai_tracing_core.sampling.always import AlwaysOn
from kai_tracing_core.sampling.base import Sampler
from kai_tracing_core.sampling.consistent_probability import ConsistentProbability
from kai_tracing_core.sampling.ratio import TraceIdRatio
from kai_tracing_core.span import Span


def _recorded(sampler: Sampler) -> Span:
    pipeline = SpanPipeline(PipelineConfig(sampler=sampler), SpanProcessor())
    while True:
        with pipeline.start("op") as span:
            pass
        if span.trace_context.is_sampled:
            return span


def _otlp_attributes(span: Span) -> dict[str, Any]:
    message = read_request(encode_request([span])).resource_spans[0].scope_spans[0].spans[0]
    return {entry.key: entry.value.double_value for entry in message.attributes}


def test_as_an_attribute_where_tracestate_does_not_say() -> None:
    """A sampler that leaves `tracestate` alone: the count is an attribute, in OTLP and where there are tags only."""
    span = _recorded(TraceIdRatio(0.25))
    assert _otlp_attributes(span) == {ADJUSTED_COUNT: 4.0}
    assert tags_of(span) == {ADJUSTED_COUNT: 4.0}


def test_not_twice() -> None:
    """Where `th` says it, or where every span is kept, no attribute is added."""
    span = _recorded(ConsistentProbability(0.25))
    assert span.adjusted_count == 4.0
    assert "th:c" in span.trace_state
    assert _otlp_attributes(span) == {}
    assert ADJUSTED_COUNT not in tags_of(span)
    assert _otlp_attributes(_recorded(AlwaysOn())) == {}
