"""The contract of a sampler, as a test class that any sampler can run.

    import pytest
    from kai_tracing_core.testing.sampler_contract import SamplerContract

    class TestMySampler(SamplerContract):
        @pytest.fixture
        def sampler(self):
            return MySampler(0.5)

The suite closes the sampler after each test. Needs pytest, which core does not depend on.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kai_tracing_core.processing.pipeline import PipelineConfig, SpanPipeline
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult
from kai_tracing_core.span import Link, Span, SpanKind
from kai_tracing_core.testing.suite import ContractSuite
from kai_tracing_core.trace_context import DECISION_ONLY, DEFERRED, RANDOM, SAMPLED, TraceContext
from kai_tracing_core.tracestate import MAX_MEMBERS, parse_tracestate

__all__ = ["SamplerContract"]

_FULL = ",".join(f"vendor{number}=value" for number in range(MAX_MEMBERS))
_STATES = ("", "ot=th:8", "ot=th:c;rv:ffffffffffffff", "ot=rv:00000000000001", "ot=th:zz;rv:1;x:y", "ot=", "=,;", _FULL)
_ALL_ONES = (1 << 128) - 1


class _Unprintable:
    def __str__(self) -> str:
        raise ValueError("not printable")  # pragma: no cover - a sampler that prints what it is given

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise ValueError("not comparable")  # pragma: no cover - a sampler that compares it

    __hash__ = None  # type: ignore[assignment]  # what defines == without a hash has none


def _requests(seed: int = 1, count: int = 200) -> Iterator[SamplingRequest]:
    """Ordinary and odd spans: roots, children of every kind of parent, with names and attributes of any shape."""
    ids = random.Random(seed)
    names = ("GET /", "", "x" * 100_000, "\udcff\0\n", "*[?", "GET /health/live")
    attributes: tuple[dict[str, Any], ...] = (
        {},
        {"http.request.method": "GET", "http.response.status_code": 500},
        {"huge": "x" * 1_000_000, "": None, "list": [1, "a"], "odd": _Unprintable()},
        {f"key{number}": number for number in range(2000)},
    )
    for number in range(count):
        trace_id = (ids.getrandbits(128), 1, _ALL_ONES, ids.getrandbits(64))[number % 4] or 1
        flags = (0, SAMPLED, SAMPLED | RANDOM, DEFERRED, DECISION_ONLY | SAMPLED, DECISION_ONLY)[number % 6]
        state = _STATES[number % len(_STATES)]
        parent_id = 0 if flags & DECISION_ONLY else trace_id
        parent = TraceContext(parent_id, parent_id & 0xFFFF, flags, state, is_remote=number % 3 > 0)
        yield SamplingRequest(
            trace_id,
            names[number % len(names)],
            SpanKind(number % 5),
            attributes[number % len(attributes)],
            parent if number % 7 else None,
            (Link(TraceContext(7, 7)), TraceContext(8, 8)) if number % 5 == 0 else (),
        )


class _Collector(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[Span] = []

    def on_end(self, span: Span) -> None:
        self.spans.append(span)


class SamplerContract(ContractSuite, contract=True):
    """What a sampler must do whatever its strategy: override the fixture `sampler`."""

    @pytest.fixture
    def sampler(self) -> Sampler:
        """The sampler under test, ready for use; a new one for each test."""
        raise NotImplementedError("a contract test class overrides the fixture `sampler`")

    @pytest.fixture(autouse=True)
    def _closing(self, sampler: Sampler) -> Iterator[None]:
        yield
        sampler.close()

    def test_decisions_are_valid(self, sampler: Sampler) -> None:
        """Whatever the span: a `SamplingResult` with one of the three decisions, and nothing raised."""
        for request in _requests():
            result = sampler.should_sample(request)
            assert isinstance(result, SamplingResult)
            assert result.decision in tuple(SamplingDecision)
            assert result.attributes is None or all(isinstance(key, str) and key for key in result.attributes)

    def test_adjusted_count_is_at_least_one(self, sampler: Sampler) -> None:
        """A sampled span stands for itself at the least, so no count is below 1; None says that it is not known."""
        for request in _requests():
            result = sampler.should_sample(request)
            if result.decision == SamplingDecision.RECORD_AND_SAMPLE and result.adjusted_count is not None:
                assert 1.0 <= result.adjusted_count < float("inf")

    def test_trace_state_stays_within_its_limits(self, sampler: Sampler) -> None:
        """A `tracestate` that the sampler gives is one that may be sent: 32 members, well-formed, none twice."""
        for request in _requests():
            result = sampler.should_sample(request)
            if result.trace_state is not None and parse_tracestate([request.trace_state]) == request.trace_state:
                assert parse_tracestate([result.trace_state]) == result.trace_state

    def test_members_of_others_are_kept(self, sampler: Sampler) -> None:
        """A sampler leaves the `tracestate` members of other vendors as they are."""
        parent = TraceContext(5, 6, SAMPLED | RANDOM, "acme=1,ot=th:0,other=2", is_remote=True)
        state = sampler.should_sample(SamplingRequest(5, "name", SpanKind.SERVER, {}, parent)).trace_state
        if state is not None:
            assert [member for member in state.split(",") if not member.startswith("ot=")] == ["acme=1", "other=2"]

    def test_the_request_is_left_alone(self, sampler: Sampler) -> None:
        """The attributes given at the start are the application's: a sampler does not change them."""
        attributes: dict[str, Any] = {"key": "value", "list": [1, 2]}
        sampler.should_sample(SamplingRequest(3, "name", SpanKind.INTERNAL, attributes))
        assert attributes == {"key": "value", "list": [1, 2]}

    def test_description_is_for_people(self, sampler: Sampler) -> None:
        """The description is one line, and is what `repr` shows."""
        assert sampler.description
        assert "\n" not in sampler.description
        assert repr(sampler) == sampler.description

    def test_always_is_truthful(self, sampler: Sampler) -> None:
        """`always` promises that every root is recorded with a count of 1 and no `tracestate`: nobody will ask."""
        if not sampler.always:
            return
        for request in _requests():
            if request.parent is None:
                result = sampler.should_sample(request)
                assert result.decision == SamplingDecision.RECORD_AND_SAMPLE
                assert result.adjusted_count in (None, 1.0)
                assert not result.trace_state
                assert not result.attributes

    def test_drops_root_is_truthful(self, sampler: Sampler) -> None:
        """`drops_root` promises that a root is dropped exactly where it says so, whatever its name and attributes."""
        if sampler.drops_root is None:
            return
        for request in _requests():
            if request.parent is None:
                dropped = sampler.should_sample(request).decision == SamplingDecision.DROP
                assert sampler.drops_root(request.trace_id) == dropped

    def test_inherits_local_is_truthful(self, sampler: Sampler) -> None:
        """`inherits_local` promises that a child of a span that this sampler decided on gets the same decision."""
        if not sampler.inherits_local:
            return
        ids = random.Random(2)
        for _ in range(200):
            trace_id = ids.getrandbits(128) or 1
            root = sampler.should_sample(SamplingRequest(trace_id, "root", SpanKind.SERVER, {}))
            kept = root.decision == SamplingDecision.RECORD_AND_SAMPLE
            parent = TraceContext(trace_id, 1, RANDOM | (SAMPLED if kept else 0), root.trace_state or "")
            child = sampler.should_sample(SamplingRequest(trace_id, "child", SpanKind.CLIENT, {}, parent))
            assert (child.decision == SamplingDecision.RECORD_AND_SAMPLE) == kept
            if kept and child.adjusted_count is not None:
                assert child.adjusted_count == pytest.approx(root.adjusted_count or 1.0)

    def test_sampled_implies_recorded(self, sampler: Sampler) -> None:
        """In a pipeline, a span that says it is sampled is recorded and reaches the queue, and no other does."""
        collector = _Collector()
        pipeline = SpanPipeline(PipelineConfig(sampler=sampler), collector)
        spans = [pipeline.start(f"operation {number % 3}") for number in range(50)]
        for span in spans:
            recording = span.is_recording()
            assert recording or not span.trace_flags & SAMPLED
            span.end()
        ended = {span.span_id for span in collector.spans if span.trace_flags & SAMPLED}
        assert ended == {span.span_id for span in spans if span.trace_flags & SAMPLED}

    def test_many_threads_at_once(self, sampler: Sampler) -> None:
        """Asked from several threads at once, it gives every one of them valid answers and raises nothing."""
        failures: list[BaseException] = []
        barrier = threading.Barrier(4)

        def ask(seed: int) -> None:
            barrier.wait()
            try:
                for request in _requests(seed, 300):
                    assert sampler.should_sample(request).decision in tuple(SamplingDecision)
            except BaseException as error:  # pragma: no cover - a sampler that breaks the contract
                failures.append(error)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures

    def test_close_is_idempotent(self, sampler: Sampler) -> None:
        """It may be closed twice, and still answers afterwards, since spans may start while the provider stops."""
        sampler.close()
        sampler.close()
        result = sampler.should_sample(SamplingRequest(3, "late", SpanKind.INTERNAL, {}))
        assert isinstance(result, SamplingResult)
