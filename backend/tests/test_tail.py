"""Tail sampling in the collector: which traces are kept, what they stand for, and that nothing acknowledged is lost."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.sampling import tail
from kai_tracing_backend.sampling.tail import TailOptions, TailSampling, keeps
from kai_tracing_backend.storage.contract import StoreError
from kai_tracing_backend.storage.queue import QueueFullError
from kai_tracing_backend.testing.store_contract import batch, span

from kai_tracing_core.sampling.tail_policies import (
    And,
    AttributeMatch,
    HasError,
    Latency,
    Not,
    Or,
    Probability,
    Rate,
    SlowestShare,
    TailPolicy,
    TailTrace,
)
from tests.support.tail import Make, Sink, ids, put, settle

# -- which traces ------------------------------------------------------------------------------------------------------


def decided(stage: TailSampling, sink: Sink, spans: list[StoredSpan]) -> bool:
    """Whether a trace of these spans is kept; a marker that is always kept comes after it."""
    seen = len(sink.rows)
    marker = span(999_999, 1, attributes={"marker": True}, start_time=spans[0].start_time)
    put(stage, spans)
    put(stage, [marker])
    with sink.changed:
        assert sink.changed.wait_for(lambda: any(row["trace_low"] == 999_999 for row in sink.rows[seen:]), 60)
    return any(row["trace_low"] != 999_999 for row in sink.rows[seen:])


@pytest.mark.parametrize(
    ("policy", "good", "bad"),
    [
        (HasError(), {"status": 2}, {"status": 1}),
        (Latency(0.5), {"duration": 500_000_000}, {"duration": 499_999_999}),
        (AttributeMatch("user.tier", "gold*"), {"attributes": {"user.tier": "golden"}}, {}),
        (AttributeMatch("http.response.status_code", ">= 500"), {"attributes": {"http.response.status_code": 503}}, {}),
        (AttributeMatch("n", 1.5), {"attributes": {"n": 1.5}}, {"attributes": {"n": "1.5"}}),
        (AttributeMatch("flag", True), {"attributes": {"flag": True}}, {"attributes": {"flag": False}}),
        (AttributeMatch("cloud.region", "eu*"), {"resource": {"cloud.region": "eu-1"}}, {"resource": {}}),
        (AttributeMatch("list"), {"attributes": {"list": [1]}}, {}),
        (And(HasError(), Not(AttributeMatch("synthetic", True))), {"status": 2}, {"attributes": {"synthetic": True}}),
    ],
)
def test_the_core_s_policies_judge_columns(
    make: Make, sink: Sink, policy: TailPolicy, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    """Errors, latency, attributes of every type and of the resource, combinations: as they judge a process's spans."""
    stage = make(Or(AttributeMatch("marker"), policy))
    assert decided(stage, sink, [span(1, 1, name="root", **({"duration": 1} | good)), span(1, 2, 1)])
    assert not decided(stage, sink, [span(2, 1, name="root", **({"duration": 1} | bad)), span(2, 2, 1)])


def test_slow_is_slow_for_its_operation(make: Make, sink: Sink) -> None:
    """The 95th percentile is that of the root's service and name: the same duration is slow in one service only."""
    stage = make(Or(AttributeMatch("marker"), SlowestShare(95)))
    numbers = itertools.count(1)
    for _ in range(100):
        put(stage, [span(next(numbers), 1, name="GET /", service="quick", duration=1_000_000)])
        put(stage, [span(next(numbers), 1, name="GET /", service="slow", duration=900_000_000)])
    sink.rows.clear()
    assert decided(stage, sink, [span(5_001, 1, name="GET /", service="quick", duration=800_000_000)])
    assert not decided(stage, sink, [span(5_002, 1, name="GET /", service="slow", duration=800_000_000)])


def test_a_trace_is_decided_with_what_other_services_sent_after_the_root(make: Make, sink: Sink) -> None:
    """An error that arrives in another request after the root, within the wait, keeps all of the trace."""
    now = [0.0]
    stage = make(HasError(), TailOptions(root_wait=5.0, max_wait=30.0), clock=lambda: now[0])
    put(stage, [span(1, 1, service="front")])
    now[0] = 4.0
    put(stage, [span(1, 2, 1, service="back", status=2)])
    assert stage.held[0] == 1
    now[0] = 5.1
    put(stage, [span(2, 1)])  # what comes next wakes it
    sink.wait(2)
    assert {row["span_id"] for row in sink.rows} == {1, 2}


def test_a_trace_without_a_root_is_decided_after_the_limit(make: Make, sink: Sink) -> None:
    """`max_wait` after its first span, by what is there."""
    now = [0.0]
    stage = make(HasError(), TailOptions(root_wait=5.0, max_wait=30.0), clock=lambda: now[0])
    put(stage, [span(1, 2, 1, status=2)])
    now[0] = 29.0
    put(stage, [span(2, 2, 1)])
    assert stage.held[0] == 2
    now[0] = 30.5
    put(stage, [span(3, 2, 1)])
    sink.wait(1)
    assert sink.traces == {1}


def test_late_spans_follow_the_verdict(make: Make, sink: Sink) -> None:
    """Kept traces' with the same weight, the others' not."""
    stage = make(And(HasError(), Probability(0.5)))
    kept, left = (next(i for i in ids(1) if keeps(i, 0.5) is wanted) for wanted in (True, False))
    put(stage, [span(kept, 1, status=2), span(left, 1, status=2)])
    sink.wait(1)
    put(stage, [span(kept, 2, 1, adjusted_count=3.0), span(left, 2, 1)])
    sink.wait(2)
    assert [(row["span_id"], row["adjusted_count"]) for row in sink.rows] == [(1, 2.0), (2, 6.0)]
    assert sink.traces == {kept}


def test_the_memory_of_verdicts_is_bounded(make: Make, sink: Sink) -> None:
    """The last ones are remembered; what comes of an earlier trace is judged by itself."""
    stage = make(HasError(), TailOptions(0.0, 1e6, max_decisions=2))
    for number in range(1, 5):
        put(stage, [span(number, 1)])
        settle(stage)
    put(stage, [span(1, 2, status=2), span(4, 2, status=2), span(5, 1, status=2)])
    sink.wait(2)
    assert sink.traces == {1, 5}


# -- what they stand for -----------------------------------------------------------------------------------------------

POLICIES: dict[str, Callable[[], TailPolicy]] = {
    "share": lambda: Probability(0.2),
    "errors and a share": lambda: Or(HasError(), Probability(0.3)),
    "slow ones and a share": lambda: Or(SlowestShare(90), Probability(0.25)),
    "a rate": lambda: Rate(40.0, clock=itertools.count(0.0, 0.01).__next__),
    "not": lambda: Not(And(HasError(), Probability(0.6))),
}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("seed", [1, 2])
def test_weighted_counts_are_unbiased(make: Make, sink: Sink, name: str, seed: int) -> None:
    """Whatever the policy and however spans were sampled before, also each service by itself at another threshold.

    The sum of the kept weights is that of all that came, within five standard deviations of the sampling.
    """
    source = random.Random(seed)
    spans: list[StoredSpan] = []
    for trace_id, _ in zip(ids(seed), range(3_000), strict=False):
        failed = source.random() < 0.3
        randomness = (trace_id & (1 << 56) - 1) / (1 << 56)
        spans.append(span(trace_id, 1, duration=source.randint(1, 10**9), name=source.choice("ab")))
        # The second service records a half by the same randomness: its part is there or not as the id wants.
        if randomness >= 0.5:
            more = {"trace_state": "ot=th:8", "adjusted_count": 2.0, "status": 2 if failed else 0}
            spans.append(span(trace_id, 2, 1, service="b", **more))
    stage = make(POLICIES[name]())
    for start in range(0, len(spans), 500):
        put(stage, spans[start : start + 500])
    settle(stage)
    stage.close()
    put_in: dict[str, float] = {}
    for one in spans:
        put_in[one.service] = put_in.get(one.service, 0.0) + one.adjusted_count
    for service, total in put_in.items():
        weights = [row["adjusted_count"] for row in sink.rows if row["service"] == service]
        before = 2.0 if service == "b" else 1.0
        deviation = sum(weight * (weight - before) for weight in weights) ** 0.5
        assert abs(sum(weights) - total) <= 5 * deviation, (service, sum(weights), total)
    assert all("th:" not in row["trace_state"] for row in sink.rows if row["adjusted_count"] > 2.0)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 0.95), st.floats(1.0, 1e6), st.integers(0, 1 << 30))
def test_the_draw_has_the_policy_s_probability(chance: float, weight: float, seed: int) -> None:
    """Of a thousand ids the share is the probability within six deviations; a higher one keeps what a lower keeps."""
    chosen = [trace_id for trace_id, _ in zip(ids(seed), range(1_000), strict=False) if keeps(trace_id, chance)]
    assert abs(len(chosen) - 1_000 * chance) <= 6 * (1_000 * chance * (1 - chance)) ** 0.5 + 1
    assert all(keeps(trace_id, (1 + chance) / 2) for trace_id in chosen)
    assert all(keeps(trace_id, 1.0) and not keeps(trace_id, 0.0) for trace_id in chosen)


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_memory_is_bounded_by_deciding_the_oldest(make: Make, sink: Sink) -> None:
    """Past half of the bytes the oldest traces are decided by what is known, long before their time."""
    one = batch(span(1, 2, 1)).nbytes
    stage = make(Probability(1.0), TailOptions(1e6, 1e6, max_bytes=(one + 200) * 100))
    for number in range(200):
        while True:
            try:
                put(stage, [span(number + 1, 2, 1)])
                break
            except QueueFullError:
                time.sleep(0.01)
    sink.wait(100)
    assert stage.held[1] <= (one + 200) * 100
    assert min(sink.traces) == 1


def test_senders_are_refused_while_nothing_can_be_stored(make: Make, sink: Sink) -> None:
    """What is kept waits in bounded memory and in the journal until the store takes it; then it is all there, once."""
    sink.fail = True
    one = batch(span(1, 1)).nbytes
    stage = make(Probability(1.0), TailOptions(0.0, 1e6, max_bytes=(one + 200) * 20))
    taken = 0
    with pytest.raises(QueueFullError):
        for number in range(1, 100):
            put(stage, [span(number, 1)])
            taken = number
    assert 5 <= taken <= 20
    assert stage.full
    sink.fail = False
    sink.wait(taken)
    assert sorted(sink.traces) == list(range(1, taken + 1))
    assert len(sink.rows) == taken


def test_a_policy_that_raises_keeps_the_trace(make: Make, sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    """And complains once."""

    class Broken(TailPolicy):
        def probability(self, trace: TailTrace) -> float:
            raise RuntimeError("oh")

    stage = make(Broken())
    put(stage, [span(1, 1), span(2, 1)])
    sink.wait(2)
    assert caplog.text.count("a policy of tail sampling raises") == 1


def test_what_cannot_be_stored_is_logged_once_and_told_at_the_end(
    make: Make, sink: Sink, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is tried, and once that it works again. A stage that ends meanwhile says what stays in it."""
    monkeypatch.setattr(tail, "_RETRY", 0.01)
    stage, tried = make(Probability(1.0)), sink.tried
    sink.fail = True
    put(stage, [span(1, 1)])
    sink.wait_tried(tried + 5)
    sink.fail = False
    sink.wait(1)
    settle(stage)
    stage.close()
    began, over = (line for line in caplog.messages if "kept spans" in line)
    assert began.endswith("stay in the journal: no room")
    assert over.startswith("kept spans are written again; meanwhile it failed ")
    sink.fail = True
    ending = make(Probability(1.0))
    put(ending, [span(2, 1), span(3, 1)])
    settle(ending)
    with pytest.raises(
        StoreError, match=r"2 spans that tail sampling keeps could not be stored: no room\. They are in"
    ):
        ending.close()
    sink.fail = False
    make(HasError())
    sink.wait(3)
    assert sink.traces == {1, 2, 3}


def test_a_queue_that_is_full_at_the_end_has_time(make: Make, sink: Sink) -> None:
    """What is kept is stored as soon as the queue has room, before the stage is closed."""
    sink.refuse = True
    stage = make(Probability(1.0))
    put(stage, [span(1, 1)])
    settle(stage)
    ending = threading.Thread(target=stage.close)
    ending.start()
    sink.refuse = False
    ending.join(60)
    assert sink.traces == {1}
