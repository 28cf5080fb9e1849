"""Following parents: the five branches, OpenTelemetry's decisions, and what a child stands for."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import sampling as sdk
from opentelemetry.trace.propagation import set_span_in_context

from kai_tracing_core.sampling.always import AlwaysOff, AlwaysOn
from kai_tracing_core.sampling.consistent_probability import ConsistentProbability
from kai_tracing_core.sampling.parent_based import ParentBased
from kai_tracing_core.sampling.rate_limiting import RateLimiting
from kai_tracing_core.sampling.ratio import TraceIdRatio
from kai_tracing_core.trace_context import DECISION_ONLY, DEFERRED, RANDOM, SAMPLED, TraceContext

from .asking import ask, keeps, pipeline

_HIGH = (1 << 128) - 1


@given(st.floats(0.0, 1.0), st.integers(1, (1 << 128) - 1))
def test_ratio_decisions_equal_opentelemetrys(ratio: float, trace_id: int) -> None:
    """`traceidratio` keeps exactly the traces that OpenTelemetry's SDK keeps."""
    theirs = sdk.TraceIdRatioBased(ratio).should_sample(None, trace_id, "name")
    assert keeps(ask(TraceIdRatio(ratio), trace_id)) == theirs.decision.is_sampled()


def test_ratio_decisions_equal_opentelemetrys_on_random_ids() -> None:
    """The same for ids as they are in practice, at the edges of the ratio, and for children."""
    ids = random.Random(4)
    for ratio in (0.0, 1e-9, 0.001, 0.1, 1 / 3, 0.5, 0.999, 1.0):
        ours, theirs = TraceIdRatio(ratio), sdk.TraceIdRatioBased(ratio)
        bound = round(ratio * (1 << 64))
        edges = [max(1, bound + offset) for offset in (-1, 0, 1)]
        for trace_id in itertools.chain(edges, (ids.getrandbits(128) for _ in range(500))):
            assert keeps(ask(ours, trace_id)) == theirs.should_sample(None, trace_id, "n").decision.is_sampled()


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_parent_based_decisions_equal_opentelemetrys(remote: bool, sampled: bool, ratio: float) -> None:
    """With and without a parent, remote or local, sampled or not: as OpenTelemetry's `ParentBased` decides."""
    theirs = sdk.ParentBased(sdk.TraceIdRatioBased(ratio))
    ours = ParentBased(TraceIdRatio(ratio))
    context = trace.SpanContext(7, 8, remote, trace.TraceFlags(int(sampled)))
    parent_context = set_span_in_context(trace.NonRecordingSpan(context))
    parent = TraceContext(7, 8, int(sampled), is_remote=remote)
    assert keeps(ask(ours, 7, parent=parent)) == theirs.should_sample(parent_context, 7, "n").decision.is_sampled()
    assert keeps(ask(ours, 7)) == theirs.should_sample(None, 7, "n").decision.is_sampled()


@pytest.mark.parametrize(
    ("branch", "parent"),
    [
        ("root", None),
        ("remote_parent_sampled", TraceContext(5, 5, SAMPLED, is_remote=True)),
        ("remote_parent_not_sampled", TraceContext(5, 5, is_remote=True)),
        ("local_parent_sampled", TraceContext(5, 5, SAMPLED)),
        ("local_parent_not_sampled", TraceContext(5, 5)),
    ],
)
def test_five_branches(branch: str, parent: TraceContext | None) -> None:
    """Each kind of parent asks its own sampler and no other."""
    for expected in (AlwaysOn(), AlwaysOff()):
        others = AlwaysOff() if isinstance(expected, AlwaysOn) else AlwaysOn()
        names = (
            "remote_parent_sampled",
            "remote_parent_not_sampled",
            "local_parent_sampled",
            "local_parent_not_sampled",
        )
        branches = {name: expected if name == branch else others for name in names}
        sampler = ParentBased(expected if branch == "root" else others, **branches)
        assert keeps(ask(sampler, 5, parent=parent)) == isinstance(expected, AlwaysOn)


def test_a_parent_without_a_decision_is_a_root_and_a_decision_alone_is_followed() -> None:
    """B3 ids without a decision leave it to us; `b3: 0` and `b3: 1` decide for the trace that starts here."""
    assert keeps(ask(ParentBased(AlwaysOn()), 5, parent=TraceContext(5, 5, DEFERRED, is_remote=True)))
    assert not keeps(ask(ParentBased(AlwaysOff()), 5, parent=TraceContext(5, 5, DEFERRED, is_remote=True)))
    assert not keeps(ask(ParentBased(AlwaysOn()), 5, parent=TraceContext(flags=DECISION_ONLY, is_remote=True)))
    assert keeps(ask(ParentBased(AlwaysOff()), 5, parent=TraceContext(flags=DECISION_ONLY | SAMPLED, is_remote=True)))


def test_a_child_of_a_remote_parent_stands_for_as_many_as_its_th_says() -> None:
    """The adjusted count of a continued trace comes from `tracestate`; without `th` it is not known and counts as 1."""
    spans, collector = pipeline(ParentBased(ConsistentProbability(0.5)))
    for state, count in (("ot=th:c", 4.0), ("ot=th:8,a=b", 2.0), ("a=b", 1.0), ("ot=th:8;rv:00000000000000", 1.0)):
        remote = TraceContext(_HIGH, 9, SAMPLED | RANDOM, state, is_remote=True)
        with spans.start("server", parent=remote) as server:
            spans.start("child").end()
            assert server.adjusted_count == count
            assert server.trace_state == state
        assert [span.adjusted_count for span in collector.spans[-2:]] == [count, count]


def test_local_children_inherit_the_count_even_of_a_parent_that_ended() -> None:
    """Children, grandchildren, children by trace context, and background work after the end: all count alike."""
    spans, _ = pipeline(ParentBased(ConsistentProbability(0.25)), seed=3)
    root = spans.start("root")
    while not root.is_recording():
        root = spans.start("root")
    child = spans.start("child", parent=root)
    grandchild = spans.start("grandchild", parent=child.trace_context)
    root.end()
    late = spans.start("late", parent=root)
    assert {span.adjusted_count for span in (root, child, grandchild, late)} == {4.0}


def test_a_second_stage_multiplies_what_it_samples() -> None:
    """Sampling again among what the parent kept: the counts multiply, and `th` stays only where it says as much."""
    parent = TraceContext(_HIGH & ~(1 << 63), 1, SAMPLED, "ot=th:8", is_remote=True)
    by_ratio = ParentBased(AlwaysOn(), remote_parent_sampled=TraceIdRatio(0.5))
    result = ask(by_ratio, parent._trace_id, parent=parent)
    assert (result.adjusted_count, result.trace_state) == (4.0, "")
    by_threshold = ParentBased(AlwaysOn(), remote_parent_sampled=ConsistentProbability(0.25))
    result = ask(by_threshold, parent._trace_id, parent=parent)
    assert (result.adjusted_count, result.trace_state) == (4.0, "ot=th:c")


def test_spans_chosen_by_other_means_do_not_carry_the_parents_th() -> None:
    """A sampler that ignores the parent's choice erases its `th`, which would count wrongly downstream."""
    parent = TraceContext(1, 1, SAMPLED, "ot=th:8;rv:f0000000000000,a=b", is_remote=True)
    for sampler in (AlwaysOn(), TraceIdRatio(1.0), RateLimiting(5)):
        result = ask(sampler, 1, parent=parent)
        assert result.trace_state == "ot=rv:f0000000000000,a=b"
        assert result.adjusted_count == 1.0
