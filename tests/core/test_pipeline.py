"""From the start of a span to those who take it when it ended."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

import pytest
from kai_tracing_inmemory import InMemoryProvider

from kai_tracing_core import Span, SpanKind, SpanOptions, TraceContext
from kai_tracing_core.attributes import SpanLimits
from kai_tracing_core.processing.ids import IdStock, RandomIds
from kai_tracing_core.processing.pipeline import PipelineConfig, SpanPipeline
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.propagation.base import Headers, Propagator
from kai_tracing_core.sampling.always import AlwaysOff, AlwaysOn
from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult
from kai_tracing_core.sampling.parent_based import ParentBased
from kai_tracing_core.trace_context import DEBUG, DECISION_ONLY, DEFERRED, RANDOM, SAMPLED

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Scripted(Sampler):
    """Answers as it is told and remembers what it was asked."""

    def __init__(self, result: SamplingResult | Exception) -> None:
        self.result = result
        self.requests: list[SamplingRequest] = []
        self.closed = False

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        self.requests.append(request)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    @property
    def description(self) -> str:
        return "Scripted"

    def close(self) -> None:
        self.closed = True


class Log(SpanProcessor):
    """Writes down what it sees."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name, self.lines = name, lines

    def on_start(self, span: Span, parent: TraceContext | None) -> None:
        self.lines.append(f"{self.name} start {span.name}")

    def on_ending(self, span: Span) -> None:
        assert span.is_recording()
        self.lines.append(f"{self.name} ending {span.name}")

    def on_end(self, span: Span) -> None:
        assert not span.is_recording()
        self.lines.append(f"{self.name} end {span.name}")

    def flush(self, timeout: float) -> bool:
        self.lines.append(f"{self.name} flush")
        return self.name != "slow"

    def shutdown(self, timeout: float) -> bool:
        self.lines.append(f"{self.name} shutdown")
        return True


class Broken(SpanProcessor):
    """Raises wherever it can."""

    def on_start(self, span: Span, parent: TraceContext | None) -> None:
        raise RuntimeError("start")

    def on_ending(self, span: Span) -> None:
        raise RuntimeError("ending")

    def on_end(self, span: Span) -> None:
        raise RuntimeError("end")


def provider(sampler: Sampler, **options: Any) -> InMemoryProvider:
    """A provider that samples like this."""
    return InMemoryProvider(config=PipelineConfig(sampler=sampler, **options))


# -- processors --------------------------------------------------------------------------------------------------------


def test_processors_see_a_span_in_their_order() -> None:
    """Start, last chance and end reach every processor in turn, those added later last; the sink comes at the end."""
    lines: list[str] = []
    recording = InMemoryProvider(config=PipelineConfig(processors=[Log("a", lines), Log("slow", lines)]))
    recording.pipeline.add_processor(Log("c", lines))
    recording.start_span("x").end()
    steps = [f"{name} {step} x" for step in ("start", "ending", "end") for name in ("a", "slow", "c")]
    assert lines == steps
    assert len(recording.spans) == 1
    lines.clear()
    assert not recording.flush(1)
    assert recording.shutdown(1)
    assert lines == ["a flush", "slow flush", "c flush", "a shutdown", "slow shutdown", "c shutdown"]


def test_a_broken_processor_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """What it raises is logged; its neighbours see the span, the application does not see the error."""
    lines: list[str] = []
    recording = InMemoryProvider(config=PipelineConfig(processors=[Broken(), Log("b", lines)]))
    with recording.span("x"):
        pass
    assert lines == ["b start x", "b ending x", "b end x"]
    assert len(recording.spans) == 1
    assert [record.exc_info[1].args[0] for record in caplog.records if record.exc_info and record.exc_info[1]] == [
        "start",
        "ending",
        "end",
    ]


def test_the_sink_may_be_wrapped() -> None:
    """What `wrap_sink` makes stands in front of the queue, the last one outermost."""
    lines: list[str] = []

    class Wrapper(SpanProcessor):
        def __init__(self, name: str, sink: SpanProcessor) -> None:
            self.name, self.sink = name, sink

        def on_end(self, span: Span) -> None:
            lines.append(self.name)
            self.sink.on_end(span)

    wraps = [lambda sink: Wrapper("inner", sink), lambda sink: Wrapper("outer", sink)]
    recording = InMemoryProvider(config=PipelineConfig(wrap_sink=wraps))
    recording.start_span("x").end()
    assert lines == ["outer", "inner"]
    assert len(recording.spans) == 1


def test_without_a_sink_nothing_happens() -> None:
    """A pipeline whose sink takes no spans may be used all the same."""
    pipeline = SpanPipeline(PipelineConfig(), SpanProcessor())
    pipeline.start("x").end()
    assert (pipeline.flush(1), pipeline.shutdown(1)) == (True, True)


# -- sampling ----------------------------------------------------------------------------------------------------------


def test_what_a_sampler_is_asked() -> None:
    """Everything that is known of the span at its start, its trace id included."""
    sampler = Scripted(SamplingResult(SamplingDecision.RECORD_AND_SAMPLE))
    parent = TraceContext(TRACE, SPAN, SAMPLED, "a=1", is_remote=True)
    link = TraceContext(1, 2)
    span = provider(sampler).start_span("x", SpanOptions(SpanKind.SERVER, {"k": 1}, parent, [link]))
    (request,) = sampler.requests
    assert (request.name, request.kind, request.attributes, request.links) == ("x", SpanKind.SERVER, {"k": 1}, [link])
    assert (request.trace_id, request.parent, request.trace_state) == (int(TRACE, 16), parent, "a=1")
    span.end()


def test_what_a_sampler_answers() -> None:
    """Attributes are added, the `tracestate` replaced, and the adjusted count kept, for the span and its children."""
    sampler = Scripted(SamplingResult(SamplingDecision.RECORD_AND_SAMPLE, {"rule": "r"}, "ot=th:8", 2.0))
    recording = provider(ParentBased(sampler))
    with recording.span("root", attributes={"k": 1}), recording.span("child"):
        pass
    child, root = recording.spans
    assert root.attributes == {"k": 1, "rule": "r"}
    assert child.attributes == {}
    assert (root.trace_state, root.adjusted_count) == (child.trace_state, child.adjusted_count) == ("ot=th:8", 2.0)
    assert len(sampler.requests) == 1


def test_dropped_spans_are_propagated() -> None:
    """A root that is dropped has ids and says that it is not sampled; its children follow, unless they may not."""
    recording = provider(ParentBased(AlwaysOff()))
    with recording.span("root") as root, recording.span("child") as child:
        assert not root.is_recording()
        assert not child.is_recording()
        assert child.trace_id == root.trace_id
        assert child.span_id != root.span_id
        assert child.trace_flags == RANDOM
    stats = recording.stats()
    assert (stats.started, stats.unsampled, stats.ended) == (2, 2, 0)


def test_recorded_only() -> None:
    """Such a span reaches the processors but not the exporter, and its context says not sampled."""
    lines: list[str] = []
    recording = provider(Scripted(SamplingResult(SamplingDecision.RECORD_ONLY)), processors=[Log("a", lines)])
    with recording.span("x") as span:
        assert span.is_recording()
        assert not span.trace_context.is_sampled
    assert lines == ["a start x", "a ending x", "a end x"]
    assert recording.spans == []
    assert recording.stats().dropped == {"not_sampled": 1}


def test_a_sampler_that_raises_records(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once; what it was asked about is recorded."""
    recording = provider(Scripted(RuntimeError("broken")))
    for _ in range(3):
        recording.start_span("x", SpanOptions(parent=TraceContext())).end()
    assert len(recording.spans) == 3
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert recording.shutdown(1)


def test_the_sampler_is_closed_with_the_provider() -> None:
    """Shutting down releases what the sampler holds."""
    sampler = Scripted(SamplingResult(SamplingDecision.DROP))
    provider(sampler).shutdown(1)
    assert sampler.closed


def test_debug_overrides_the_sampler() -> None:
    """A trace that its sender marked for debugging is recorded, the mark going on with it."""
    recording = provider(AlwaysOff())
    parent = TraceContext(TRACE, SPAN, SAMPLED | DEBUG, is_remote=True)
    with recording.span("x", parent=parent) as span:
        assert span.trace_context.is_debug
        assert span.trace_context.is_sampled
    assert len(recording.spans) == 1


def test_a_decision_without_ids() -> None:
    """It holds for the trace that starts here, which has no parent."""
    recording = InMemoryProvider()
    kept = recording.start_span("kept", SpanOptions(parent=TraceContext(flags=SAMPLED | DECISION_ONLY, is_remote=True)))
    kept.end()
    dropped = recording.start_span("dropped", SpanOptions(parent=TraceContext(flags=DECISION_ONLY, is_remote=True)))
    dropped.end()
    (span,) = recording.spans
    assert (span.name, span.parent_id, span.has_remote_parent) == ("kept", None, False)
    assert not dropped.is_recording()
    assert not dropped.trace_context.is_sampled


def test_ids_without_a_decision() -> None:
    """The root sampler is asked; the trace goes on with our decision."""
    recording = InMemoryProvider()
    parent = TraceContext(TRACE, SPAN, DEFERRED, is_remote=True)
    with recording.span("x", parent=parent) as span:
        assert span.trace_id == TRACE
        assert span.trace_context.is_sampled
        assert span.trace_context.has_decision


def test_a_sampler_that_does_not_inherit_is_asked_each_time() -> None:
    """Also about children of local spans, sampled or not."""
    sampler = Scripted(SamplingResult(SamplingDecision.RECORD_AND_SAMPLE))
    recording = provider(sampler)
    with recording.span("root"), recording.span("child"):
        pass
    assert [request.parent is None for request in sampler.requests] == [True, False]
    always = provider(AlwaysOn())
    with always.span("server", parent=TraceContext(TRACE, SPAN, 0, is_remote=True)), always.span("inner"):
        pass
    assert len(always.spans) == 2


# -- propagation -------------------------------------------------------------------------------------------------------


def test_propagators_that_raise_do_no_harm() -> None:
    """A broken format counts as absent."""

    class Broken(Propagator):
        def extract(self, headers: Headers, context: TraceContext | None) -> TraceContext | None:
            raise RuntimeError("broken")

        def inject(self, context: TraceContext, carrier: MutableMapping[str, str]) -> None:
            raise RuntimeError("broken")

    recording = InMemoryProvider(propagator=Broken())
    assert recording.extract_context({"traceparent": f"00-{TRACE}-{SPAN}-01"}) is None
    recording.inject_context(TraceContext(1, 1), {})


# -- limits and ids ----------------------------------------------------------------------------------------------------


def test_limits_of_events_and_links() -> None:
    """Their attributes have limits of their own, and all text one length."""
    limits = SpanLimits(attributes=1, events=1, links=1, event_attributes=1, link_attributes=2, value_length=3)
    recording = provider(ParentBased(AlwaysOn()), limits=limits)
    many = {"a": "abcdef", "b": "abcdef", "c": "abcdef"}
    with recording.span("x", attributes=many, links=[TraceContext(1, 1), TraceContext(1, 2)]) as span:
        span.add_event("e", many)
        span.add_link(TraceContext(1, 3), many)
        span.set_attribute("d", 1)
    assert (span.attributes, span.dropped_attributes) == ({"a": "abc"}, 3)
    assert (span.events[0].attributes, span.dropped_events) == ({"a": "abc"}, 0)
    assert (len(span.links), span.dropped_links) == (1, 2)


def test_zero_is_never_an_id() -> None:
    """A generator that gives zero is overruled."""

    class Zeros:
        trace_id = staticmethod(lambda: 0)
        span_id = staticmethod(lambda: 0)

    for sampler in (ParentBased(AlwaysOn()), AlwaysOff()):
        pipeline = SpanPipeline(PipelineConfig(ids=Zeros(), sampler=sampler), SpanProcessor())
        assert pipeline.start("x").trace_context.is_valid


def test_span_ids_are_drawn_in_blocks_that_count_the_spans() -> None:
    """No id comes twice, each taken one is counted, and after a fork others come."""
    stock = IdStock(RandomIds())
    ids = [stock.spare.pop() if stock.spare else stock.more() for _ in range(300)]
    assert len(set(ids)) == 300
    assert all(0 < span_id < 1 << 64 for span_id in ids)
    assert stock.taken == 300
    waiting = list(stock.spare)
    stock.reset()
    assert stock.taken == 0
    assert stock.more() not in waiting


def test_a_block_of_ids_with_a_zero_is_drawn_again() -> None:
    """Zero is no id, in a block as little as alone."""
    ids = RandomIds()

    class Zeros:
        def getrandbits(self, bits: int) -> int:
            ids._generator = generator
            return 1

    generator, ids._generator = ids._generator, Zeros()
    assert all(ids.span_ids())


def test_attributes_of_a_running_span_are_bounded() -> None:
    """It never holds more than the limit, takes other values for what it has, and counts the rest."""
    for limit in (5, 200):
        recording = provider(ParentBased(AlwaysOn()), limits=SpanLimits(attributes=limit))
        with recording.span("x") as span:
            for number in range(300):
                span.set_attribute(f"key{number}", number)
            span.set_attribute("key1", "again")
        assert list(span.attributes) == [f"key{number}" for number in range(limit)]
        assert span.attributes["key1"] == "again"
        assert span.dropped_attributes == 300 - limit
        assert len(span._attributes) == limit


def test_random_ids_differ_after_reseeding() -> None:
    """As they do between a parent process and its forks; they fill their width."""
    ids = RandomIds()
    state = ids._generator.getstate()
    before = ids.trace_id(), ids.span_id()
    ids._generator.setstate(state)
    ids.reseed()
    assert (ids.trace_id(), ids.span_id()) != before
    assert max(ids.trace_id() for _ in range(100)) >> 120
    assert max(ids.span_id() for _ in range(100)) < 1 << 64


def test_attributes_while_it_ends() -> None:
    """What a processor sets while the span ends counts against the same limit, and a key must be hashable."""

    class Late(SpanProcessor):
        def on_ending(self, span: Span) -> None:
            for key in ("b", "c"):
                span.set_attribute(key, 1)
            span.set_attribute([], 1)  # type: ignore[arg-type]  # that it is none is the test

    provider = InMemoryProvider(config=PipelineConfig(limits=SpanLimits(attributes=2), processors=[Late()]))
    span = provider.span("work", attributes={"a": 1})
    span.end()
    assert dict(span.attributes) == {"a": 1, "b": 1}
    assert span.dropped_attributes == 2
    provider.shutdown()
