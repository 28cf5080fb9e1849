"""The adjusted count: however traces are chosen, what is kept adds up to what there was.

Every sampler and composition runs over 30 fixed seeds. The mean of the estimates must lie within four standard errors
of the truth, as measured over the seeds, plus 0.5 % for the rounding of thresholds.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable

import pytest

from kai_tracing_core.sampling.adaptive import Adaptive
from kai_tracing_core.sampling.always import AlwaysOff, AlwaysOn
from kai_tracing_core.sampling.base import Sampler
from kai_tracing_core.sampling.consistent_probability import ConsistentProbability
from kai_tracing_core.sampling.parent_based import ParentBased
from kai_tracing_core.sampling.rate_limiting import RateLimiting
from kai_tracing_core.sampling.ratio import TraceIdRatio
from kai_tracing_core.sampling.remote import OperationProbabilities
from kai_tracing_core.sampling.rules import Rule, Rules
from kai_tracing_core.sampling.tail import Tail
from kai_tracing_core.sampling.tail_policies import And, HasError, Latency, Not, Or, Probability, Rate, TailPolicy
from kai_tracing_core.span import SpanStatusCode
from kai_tracing_core.trace_context import RANDOM, SAMPLED, TraceContext

from .asking import Clock, ask, keeps, pipeline

_SEEDS = range(30)
_TRACES = 1000
_OPERATIONS = ("chatty", "chatty", "chatty", "chatty", "chatty", "usual", "usual", "rare")


def unbiased(estimates: list[float], truth: float) -> bool:
    """Whether the mean of the estimates is the truth, within four standard errors and 0.5 %."""
    error = statistics.stdev(estimates) / len(estimates) ** 0.5
    return abs(statistics.mean(estimates) - truth) <= 4 * error + 0.005 * truth


def _rules(clock: Clock) -> Sampler:
    rules = [
        Rule(ConsistentProbability(0.5), name="rare"),
        Rule(TraceIdRatio(0.25), name="usual"),
        Rule(Adaptive(2, clock=clock), name="chatty"),
    ]
    return Rules(rules, default=AlwaysOff())


HEADS: dict[str, Callable[[Clock], Sampler]] = {
    "always_on": lambda clock: AlwaysOn(),
    "traceidratio": lambda clock: TraceIdRatio(0.1),
    "consistent_probability": lambda clock: ConsistentProbability(0.1),
    "a third": lambda clock: ConsistentProbability(1 / 3),
    "parent_based": lambda clock: ParentBased(ConsistentProbability(0.2)),
    "adaptive": lambda clock: Adaptive(3, clock=clock),
    "adaptive of many operations": lambda clock: Adaptive(3, max_operations=1, clock=clock),
    "adaptive at its floor": lambda clock: Adaptive(0.01, floor=0.2, clock=clock),
    "operations with bounds": lambda clock: OperationProbabilities(
        {"usual": 0.5}, default=0.01, lower_bound=2, upper_bound=10, clock=clock
    ),
    "rules": _rules,
}


@pytest.mark.parametrize("create", HEADS.values(), ids=HEADS)
def test_the_weighted_count_of_roots_is_unbiased(create: Callable[[Clock], Sampler]) -> None:
    """Through the whole pipeline: the sum of the adjusted counts, per operation and in all, estimates the truth."""
    estimates: dict[str, list[float]] = {name: [] for name in {*_OPERATIONS, "all"}}
    truth = dict.fromkeys(estimates, 0.0)
    for seed in _SEEDS:
        clock = Clock()
        traffic = random.Random(seed)
        spans, collector = pipeline(create(clock), seed)
        for _ in range(_TRACES):
            clock.now += traffic.expovariate(20)
            name = traffic.choice(_OPERATIONS)
            truth[name] += 1
            truth["all"] += 1
            spans.start(name).end()
        for name, counts in estimates.items():
            counts.append(sum(span.adjusted_count for span in collector.spans if name in (span.name, "all")))
    for name, counts in estimates.items():
        assert unbiased(counts, truth[name] / len(_SEEDS)), name


def test_rate_limiting_counts_all_but_the_last_gap() -> None:
    """The estimate of a token bucket is exact up to what was dropped after an operation's last kept trace."""
    clock, traffic = Clock(), random.Random(5)
    sampler = RateLimiting(2, clock=clock)
    estimate, truth, since = (
        dict.fromkeys(_OPERATIONS, 0.0),
        dict.fromkeys(_OPERATIONS, 0),
        dict.fromkeys(_OPERATIONS, 0),
    )
    for number in range(20_000):
        clock.now += traffic.expovariate(40)
        name = traffic.choice(_OPERATIONS)
        truth[name] += 1
        since[name] += 1
        result = ask(sampler, number + 1, name)
        if keeps(result):
            estimate[name] += result.adjusted_count or 0
            since[name] = 0
    assert {name: estimate[name] + since[name] for name in truth} == truth
    assert all(since[name] < 0.02 * truth[name] for name in truth)


@pytest.mark.parametrize("downstream", [0.5, 0.1, 0.02])
def test_a_chain_of_services_stays_unbiased(downstream: float) -> None:
    """What a service keeps of what another one sent counts right, whichever of the two probabilities is lower."""
    samplers = {
        "follows": ParentBased(AlwaysOn()),
        "raises the threshold": ParentBased(AlwaysOn(), remote_parent_sampled=ConsistentProbability(downstream)),
        "decides by itself": ConsistentProbability(downstream),
        "samples again": ParentBased(AlwaysOn(), remote_parent_sampled=TraceIdRatio(downstream)),
    }
    for kind, sampler in samplers.items():
        estimates = []
        for seed in _SEEDS:
            first, _ = pipeline(ParentBased(ConsistentProbability(0.2)), seed)
            second, collector = pipeline(sampler, seed + 1000)
            for _ in range(_TRACES):
                context = first.start("client", parent=None).trace_context
                context.is_remote = True
                second.start("server", parent=context).end()
            estimates.append(sum(span.adjusted_count for span in collector.spans))
        assert unbiased(estimates, _TRACES), kind


def test_partial_traces_count_apart() -> None:
    """Sampling what the parent left out by a ratio: parts that were left out count as many, the others as one."""
    sampler = ParentBased(AlwaysOn(), remote_parent_not_sampled=TraceIdRatio(0.25))
    estimates = []
    for seed in _SEEDS:
        ids, estimate = random.Random(seed), 0.0
        for _ in range(_TRACES):
            trace_id = ids.getrandbits(128)
            flags = RANDOM | (SAMPLED if ids.random() < 0.3 else 0)
            result = ask(sampler, trace_id, parent=TraceContext(trace_id, 1, flags, is_remote=True))
            estimate += (result.adjusted_count or 0) if keeps(result) else 0
        estimates.append(estimate)
    assert unbiased(estimates, _TRACES)


POLICIES: dict[str, Callable[[Clock], TailPolicy]] = {
    "probability": lambda clock: Probability(0.1),
    "rate": lambda clock: Rate(1, clock=clock),
    "or": lambda clock: Or(HasError(), Latency(0.2), Probability(0.1)),
    "and": lambda clock: Or(And(HasError(), Probability(0.5)), Probability(0.05)),
    "not": lambda clock: Or(Not(HasError()), Not(Probability(0.7))),
}
TAIL_HEADS: dict[str, Callable[[Clock], Sampler | None]] = {
    "everything": lambda clock: None,
    "half": lambda clock: ParentBased(ConsistentProbability(0.5)),
    "a ratio": lambda clock: ParentBased(TraceIdRatio(0.5)),
    "always on": lambda clock: ParentBased(AlwaysOn()),
    "a rate": lambda clock: ParentBased(RateLimiting(15, clock=clock)),
}


@pytest.mark.parametrize("head", TAIL_HEADS.values(), ids=TAIL_HEADS)
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_tail_sampling_is_unbiased(
    policy: Callable[[Clock], TailPolicy], head: Callable[[Clock], Sampler | None]
) -> None:
    """Every policy over every head: the number of traces, of failed ones and of slow ones is estimated right."""
    estimates: dict[str, list[float]] = {"all": [], "errors": [], "slow": []}
    truth = dict.fromkeys(estimates, 0.0)
    for seed in _SEEDS:
        clock, traffic = Clock(), random.Random(seed)
        spans, collector = pipeline(Tail(policy(clock), head=head(clock)), seed)
        for _ in range(300):
            clock.now += traffic.expovariate(20)
            failed, slow = traffic.random() < 0.1, traffic.random() < 0.1
            truth["all"] += 1
            truth["errors"] += failed
            truth["slow"] += slow
            with spans.start(traffic.choice(_OPERATIONS), start_time=10**9) as root:
                with spans.start("child") as child:
                    if failed:
                        child.set_status(SpanStatusCode.ERROR)
                root.set_attribute("kind", (failed, slow))
                root.end(10**9 + (500_000_000 if slow else 1_000_000))
        spans.sink.shutdown(1)
        roots = [span for span in collector.spans if not span._parent_id]
        estimates["all"].append(sum(span.adjusted_count for span in roots))
        estimates["errors"].append(sum(span.adjusted_count for span in roots if span._attributes["kind"][0]))
        estimates["slow"].append(sum(span.adjusted_count for span in roots if span._attributes["kind"][1]))
    for name, counts in estimates.items():
        assert unbiased(counts, truth[name] / len(_SEEDS)), name


def test_services_that_follow_one_tail_verdict_stay_unbiased_and_whole() -> None:
    """Two services choose by the same probability, by `th` as well as without: they keep the same traces."""
    for head in (None, ParentBased(AlwaysOn())):
        first, frontend = pipeline(Tail(Probability(0.3), head=head), 11)
        second, backend = pipeline(Tail(Probability(0.3), head=ParentBased(AlwaysOn())), 12)
        for _ in range(2000):
            with first.start("client") as client:
                context = client.trace_context
                context.is_remote = True
                second.start("server", parent=context).end()
        assert [span.trace_id for span in frontend.spans] == [span.trace_id for span in backend.spans]
        first.sink.shutdown(1)
        second.sink.shutdown(1)
        for collector in (frontend, backend):
            assert sum(span.adjusted_count for span in collector.spans) == pytest.approx(2000, rel=0.1)
