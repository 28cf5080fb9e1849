"""Samplers that look at the clock: token bucket, fair shares, and the adaptive one."""

from __future__ import annotations

import os
import threading
from collections import Counter

import pytest

from kai_tracing_core.sampling.adaptive import Adaptive
from kai_tracing_core.sampling.rate_limiting import RateLimiting
from kai_tracing_core.sampling.remote import OperationProbabilities

from .asking import Clock, SeededIds, ask, keeps


def test_a_bucket_keeps_its_rate() -> None:
    """Of 50 traces a second, 5 a second are kept, after a first burst of a second's worth."""
    clock = Clock()
    sampler = RateLimiting(5, clock=clock)
    kept = 0
    for number in range(5000):
        clock.now += 0.02
        kept += keeps(ask(sampler, number + 1))
    assert kept == pytest.approx(5 * 100, abs=6)


def test_a_fraction_is_one_trace_in_many_seconds() -> None:
    """0.1 per second is one trace in ten seconds, the first at once."""
    clock = Clock()
    sampler = RateLimiting(0.1, clock=clock)
    kept = []
    for second in range(100):
        clock.now += 1
        if keeps(ask(sampler)):
            kept.append(second)
    assert kept[0] == 0
    assert len(kept) in (10, 11)


def test_a_chatty_operation_cannot_starve_the_others() -> None:
    """One operation at 1000/s takes what is left, but every trace of those below their share is kept."""
    clock = Clock()
    sampler = RateLimiting(10, clock=clock)
    kept: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for millisecond in range(60_000):
        clock.now += 0.001
        names = ["chatty"]
        names += [f"rare {number}" for number in range(4) if millisecond % 1000 == number * 100 + 50]
        for name in names:
            asked[name] += 1
            kept[name] += keeps(ask(sampler, 1, name))
    assert sum(kept.values()) <= 10 * 60 + 20
    assert sum(kept.values()) >= 10 * 60 * 0.95
    for number in range(4):
        assert kept[f"rare {number}"] == asked[f"rare {number}"]
    assert kept["chatty"] > 300


def test_what_others_leave_unused_goes_to_the_busy_one() -> None:
    """Fifty operations that came once do not hold back their share from the one that is busy."""
    clock = Clock()
    sampler = RateLimiting(10, clock=clock)
    for number in range(50):
        ask(sampler, 1, f"once {number}")
    kept = 0
    for _ in range(30_000):
        clock.now += 0.001
        kept += keeps(ask(sampler, 1, "busy"))
    assert kept > 10 * 30 * 0.7


def test_the_limit_holds_whatever_the_names() -> None:
    """A new name for every trace: the rate is kept all the same, and so is the bound on memory."""
    clock = Clock()
    sampler = RateLimiting(10, max_operations=100, clock=clock)
    kept = 0
    for number in range(20_000):
        clock.now += 0.005
        kept += keeps(ask(sampler, 1, f"name {number}"))
    assert kept <= 10 * 100 + 2 * 10
    assert len(sampler._shares) <= 101


def test_threads_share_one_bucket() -> None:
    """With the clock standing still, eight threads together get one burst and not a trace more."""
    sampler = RateLimiting(50, clock=Clock())
    kept: list[int] = []

    def run() -> None:
        kept.append(sum(keeps(ask(sampler)) for _ in range(200)))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 50 <= sum(kept) <= 100


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_lock_held_during_a_fork_does_not_block_the_child() -> None:
    """Another thread holds the lock while the process forks: the child's sampler answers all the same."""
    samplers = (RateLimiting(5), Adaptive(5))
    locks = (samplers[0]._lock, samplers[1]._rates._lock)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with locks[0], locks[1]:
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    child = os.fork()
    if not child:
        decided = [keeps(ask(sampler)) for sampler in samplers]
        os._exit(0 if all(decided) else 1)
    release.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_adaptive_keeps_its_target_of_every_operation() -> None:
    """At 200, 20 and 0.5 traces a second with a target of 2: about 2, about 2, and all of the rare one."""
    clock, ids = Clock(), SeededIds(3)
    sampler = Adaptive(2, clock=clock)
    kept: Counter[str] = Counter()
    for step in range(200 * 120):
        clock.now += 1 / 200
        for name, every in (("busy", 1), ("usual", 10), ("rare", 400)):
            if step % every == 0:
                kept[name] += keeps(ask(sampler, ids.trace_id(), name))
    assert kept["rare"] == 60
    for name in ("busy", "usual"):
        assert kept[name] / 120 == pytest.approx(2, rel=0.25)


def test_adaptive_follows_the_traffic_up_and_down() -> None:
    """A hundredfold burst does not flood the backend, and after it a quiet operation is kept whole again."""
    clock, ids = Clock(), SeededIds(4)
    sampler = Adaptive(5, clock=clock)

    def run(rate: int, seconds: int) -> float:
        kept = 0
        for _ in range(rate * seconds):
            clock.now += 1 / rate
            kept += keeps(ask(sampler, ids.trace_id()))
        return kept / seconds

    assert run(10, 30) == pytest.approx(5, rel=0.4)
    assert run(1000, 10) < 20
    run(4, 60)
    assert run(4, 60) == 4


def test_adaptive_never_goes_below_its_floor() -> None:
    """However busy the operation, its probability stays at the floor or above."""
    clock, ids = Clock(), SeededIds(5)
    sampler = Adaptive(0.001, floor=0.5, clock=clock)
    results = [ask(sampler, ids.trace_id()) for _ in range(1000)]
    counts = {result.adjusted_count for result in results if keeps(result)}
    assert max(count for count in counts if count is not None) <= 2.0
    assert sum(map(keeps, results)) > 400


def test_adaptive_writes_the_probability_it_used() -> None:
    """`th` is that of the moment, so downstream services count as the adjusted count says."""
    clock, ids = Clock(), SeededIds(6)
    sampler = Adaptive(1, window=1.0, clock=clock)
    for _ in range(10):
        result = ask(sampler, (1 << 128) - 1 - (ids.trace_id() & 0xFF))
    assert result.trace_state == "ot=th:e666"
    assert result.adjusted_count == pytest.approx(10, rel=0.001)


def test_bounds_on_an_operations_rate() -> None:
    """Jaeger's lower bound keeps a rare operation whole, its upper bound holds a busy one down; counts stay right."""
    clock, ids = Clock(), SeededIds(7)
    sampler = OperationProbabilities({"busy": 1.0}, default=0.001, lower_bound=1, upper_bound=4, clock=clock)
    kept: Counter[str] = Counter()
    for step in range(100 * 70):
        clock.now += 0.01
        learnt = step >= 100 * 10
        kept["busy"] += keeps(ask(sampler, ids.trace_id(), "busy")) and learnt
        if step % 200 == 0:
            kept["rare"] += keeps(ask(sampler, ids.trace_id(), "rare"))
    assert kept["rare"] == 35
    assert kept["busy"] / 60 == pytest.approx(4, rel=0.2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RateLimiting(-1),
        lambda: RateLimiting(1, burst=0.5),
        lambda: Adaptive(0),
        lambda: Adaptive(1, floor=2),
        lambda: OperationProbabilities({}, default=3),
    ],
)
def test_nonsense_is_refused(make: object) -> None:
    """Negative rates and impossible probabilities are errors where the sampler is made."""
    with pytest.raises(ValueError):
        make()
