"""How many spans one stands for reaches the backend, whichever way its format has for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from kai_tracing_jaeger import JaegerProvider, JaegerSettings
from kai_tracing_jaeger.settings import Protocol
from kai_tracing_opentelemetry import OpenTelemetryProvider, OpenTelemetrySettings
from kai_tracing_opentelemetry.settings import Protocol as OtlpProtocol

from kai_tracing_core import RecordingProvider
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
from kai_tracing_core.trace_context import TraceContext
from tests.support.backends import HTTP_BACKENDS
from tests.support.decoding import ReceivedSpan
from tests.support.grpc_collector import serving
from tests.support.server import FaultServer, UdpSink


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


def _tags(raw: Any) -> dict[str, Any]:
    """The attributes or tags of a span as a backend got it, whichever the format."""
    if isinstance(raw, dict):
        return dict(raw.get("tags") or {entry["key"]: entry["value"]["doubleValue"] for entry in raw["attributes"]})
    tags: Iterable[Any] = getattr(raw, "attributes", raw.tags if hasattr(raw, "tags") else ())
    if hasattr(tags, "items"):
        return dict(tags.items())
    return {tag.key: tag.value.double_value if hasattr(tag, "value") else tag.vDouble or tag.vStr for tag in tags}


def _assert_told(spans: list[ReceivedSpan]) -> None:
    (span,) = spans
    assert float(_tags(span.raw)[ADJUSTED_COUNT]) == 4.0
    assert "th:" not in str(span.raw)


def _trace(provider: RecordingProvider) -> None:
    """A span of a trace whose `th` is no longer true: the sampler takes it away."""
    parent = TraceContext(1, 1, 1, "ot=th:8,vendor=x", is_remote=True)
    with provider.span("op", parent=parent) as span:
        pass
    assert (span.trace_state, span.adjusted_count) == ("vendor=x", 4.0)
    assert provider.flush(30)


def _config() -> PipelineConfig:
    return PipelineConfig(sampler=TraceIdRatio(0.25), resource={"service.name": "shop"})


@pytest.mark.parametrize("backend", sorted(HTTP_BACKENDS))
def test_every_format_tells_what_tracestate_no_longer_does(backend: str) -> None:
    """A span whose `th` was taken away arrives with its count as an attribute or a tag, over every protocol."""
    with FaultServer() as server:
        provider = HTTP_BACKENDS[backend](server.url, _config(), 20.0)
        _trace(provider)
        provider.shutdown(10)
        _assert_told(server.spans)


def test_the_agent_is_told_too() -> None:
    """As above, by Jaeger's UDP packets."""
    with UdpSink() as sink:
        settings = JaegerSettings(protocol=Protocol.AGENT, agent_host="127.0.0.1", agent_port=sink.port)
        provider = JaegerProvider(settings, config=_config())
        _trace(provider)
        provider.shutdown(10)
        assert sink.wait_for(1)
        _assert_told(sink.spans)


def test_grpc_is_told_too() -> None:
    """As above, by OTLP over gRPC."""
    with serving() as collector:
        settings = OpenTelemetrySettings(protocol=OtlpProtocol.GRPC, endpoint=collector.url)
        provider = OpenTelemetryProvider(settings, config=_config(), set_global=False)
        _trace(provider)
        provider.shutdown(10)
    (span,) = collector.requests[0].resource_spans[0].scope_spans[0].spans
    assert (_tags(span), span.trace_state) == ({ADJUSTED_COUNT: 4.0}, "vendor=x")
