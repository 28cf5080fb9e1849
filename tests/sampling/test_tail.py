"""Tail sampling: what is held back, when the verdict falls, and who follows it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kai_tracing_core.processing.pipeline import PipelineConfig, SpanPipeline
from kai_tracing_core.sampling.always import AlwaysOn
from kai_tracing_core.sampling.consistent_probability import ConsistentProbability
from kai_tracing_core.sampling.decisions import DecisionChannel, HttpDecisionChannel, InProcessDecisionChannel
from kai_tracing_core.sampling.parent_based import ParentBased
from kai_tracing_core.sampling.tail import Tail, TailOptions
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
from kai_tracing_core.sampling.tail_processor import TailProcessor
from kai_tracing_core.sampling.threshold import known_count
from kai_tracing_core.span import Span, SpanStatusCode
from kai_tracing_core.trace_context import DEBUG, RANDOM, SAMPLED, TraceContext

from .asking import Clock, Collector, SeededIds
from .serving import Server
from .test_decisions import Backend

Make = Callable[..., SpanPipeline]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes pipelines with tail sampling, and shuts them down."""
    made: list[SpanPipeline] = []

    def create(
        policy: TailPolicy,
        *,
        options: TailOptions | None = None,
        channel: DecisionChannel | None = None,
        clock: Clock | None = None,
        seed: int = 1,
        **config: Any,
    ) -> SpanPipeline:
        collector = Collector()
        timed = {} if clock is None else {"clock": clock}
        sink = TailProcessor(collector, policy, options, channel, **timed)
        sampler = ParentBased(ConsistentProbability(1.0))
        pipeline = SpanPipeline(PipelineConfig(**{"sampler": sampler, "ids": SeededIds(seed), **config}), sink)
        made.append(pipeline)
        return pipeline

    yield create
    for pipeline in made:
        pipeline.shutdown(1)


def collected(pipeline: SpanPipeline) -> list[Span]:
    """What passed the tail sampler."""
    sink = pipeline.sink
    assert isinstance(sink, TailProcessor)
    assert isinstance(sink._sink, Collector)
    return sink._sink.spans


def fail(span: Span) -> None:
    """Have the span end as an error."""
    span.set_status(SpanStatusCode.ERROR, "it failed")


def test_a_trace_is_kept_for_an_error_in_one_of_its_spans(make: Make) -> None:
    """Nothing passes before the local root ends; then the failed trace passes whole and the other one not at all."""
    spans = make(HasError())
    for failing in (True, False):
        with spans.start("root"):
            with spans.start("child") as child:
                if failing:
                    fail(child)
            assert not collected(spans)
        assert [span.name for span in collected(spans)] == (["child", "root"] if failing else [])
        collected(spans).clear()
    stats = spans.sink.stats()
    assert stats.dropped == {"tail_sampled": 2}
    assert (stats.ended, stats.queued) == (2, 0)


def test_late_spans_follow_the_verdict(make: Make) -> None:
    """What ends after its local root, in a background task say, is kept or dropped as the trace was."""
    spans = make(HasError())
    for failing in (True, False):
        root = spans.start("root")
        late = spans.start("late", parent=root)
        if failing:
            fail(root)
        root.end()
        later = spans.start("later", parent=root)
        fail(later)
        late.end()
        later.end()
    assert [span.name for span in collected(spans)] == ["root", "late", "later"]


def test_the_verdict_falls_at_the_local_root_of_a_continued_trace(make: Make) -> None:
    """A span with a remote parent is a local root: nobody waits for the caller."""
    spans = make(HasError())
    remote = TraceContext(5, 6, SAMPLED | RANDOM, "ot=th:0", is_remote=True)
    with spans.start("server", parent=remote) as server:
        fail(server)
    assert [span.name for span in collected(spans)] == ["server"]


def test_latency_is_the_local_roots(make: Make) -> None:
    """A fixed threshold looks at the local root, whatever its children took."""
    spans = make(Latency(0.5))
    for name, nanoseconds in (("slow", 500_000_000), ("fast", 499_000_000)):
        with spans.start(name, start_time=10**9) as root:
            spans.start("child", start_time=10**9).end(9 * 10**9)
            root.end(10**9 + nanoseconds)
    assert [span.name for span in collected(spans) if span.name != "child"] == ["slow"]


class _Timed:
    """A span that has ended, as policies see it."""

    def __init__(self, name: str, seconds: float) -> None:
        self.name = name
        self._start, self._end, self._status = 0, int(seconds * 1e9), 0
        self._attributes: dict[str, Any] = {}


def test_running_percentiles_are_each_operations_own() -> None:
    """Over p95 is one trace in twenty, of a fast operation as of a slow one, also after it has become slower."""
    policy = SlowestShare(95)

    def kept(name: str, seconds: list[float]) -> float:
        traces = (_Timed(name, second) for second in seconds)
        return sum(policy.probability(TailTrace([span], span)) for span in traces)

    durations = [0.01 * (1 + number * 7919 % 1000 / 100) for number in range(4000)]
    kept("fast", durations[:1000])
    kept("slow", [100 * second for second in durations[:1000]])
    assert kept("fast", durations[1000:]) / 3000 == pytest.approx(0.05, abs=0.02)
    assert kept("slow", [100 * second for second in durations[1000:]]) / 3000 == pytest.approx(0.05, abs=0.02)
    kept("fast", [3 * second for second in durations])
    assert kept("fast", [3 * second for second in durations]) / 4000 == pytest.approx(0.05, abs=0.02)
    assert kept("new", [99.0]) == 0


def test_attributes_and_boolean_combinations(make: Make) -> None:
    """Attributes of any span, by glob and comparison, with and, or and not."""
    spans = make(
        Or(
            And(AttributeMatch("user.tier", "gold*"), Not(AttributeMatch("synthetic", True))),
            AttributeMatch("http.response.status_code", ">= 500"),
        )
    )
    for name, attributes in (
        ("gold", {"user.tier": "gold-eu"}),
        ("synthetic", {"user.tier": "gold", "synthetic": True}),
        ("broken", {"http.response.status_code": 503}),
        ("plain", {}),
    ):
        with spans.start(name):
            spans.start(name, attributes=attributes).end()
    assert {span.name for span in collected(spans)} == {"gold", "broken"}


def test_a_probability_raises_the_threshold_and_the_count(make: Make) -> None:
    """Kept with probability 1/4 after a head of 1/2: every span of it says `th:e` and stands for eight."""
    spans = make(Probability(0.25), sampler=ParentBased(ConsistentProbability(0.5)))
    for _ in range(400):
        with spans.start("root"):
            spans.start("child").end()
    assert 60 <= len(collected(spans)) <= 140
    for span in collected(spans):
        assert span.trace_state == "ot=th:e"
        assert span.adjusted_count == 8.0
        assert known_count(span.trace_state, span._trace_id) == 8.0


def test_rate_keeps_about_so_many_traces_a_second(make: Make) -> None:
    """A rate of 2 per second lets about that many of 100 per second through, and counts all of them."""
    clock = Clock()
    spans = make(Rate(2, clock=clock))
    for _ in range(6000):
        clock.now += 0.01
        spans.start("root").end()
    assert len(collected(spans)) / 60 == pytest.approx(2, rel=0.5)
    assert sum(span.adjusted_count for span in collected(spans)) == pytest.approx(6000, rel=0.35)


def test_debug_traces_are_kept(make: Make) -> None:
    """A trace that the caller asked to debug is kept whatever the policy says."""
    spans = make(Probability(0.0))
    parent = TraceContext(5, 6, SAMPLED | DEBUG, is_remote=True)
    spans.start("server", parent=parent).end()
    assert len(collected(spans)) == 1


def test_memory_is_bounded(make: Make) -> None:
    """With too many spans held back, the oldest trace is decided by what is known of it, and its root follows."""
    spans = make(HasError(), options=TailOptions(max_spans=10, max_decisions=3))
    failed, sound = spans.start("failed"), spans.start("sound", parent=TraceContext())
    for root in (failed, sound):
        for _ in range(5):
            child = spans.start("child", parent=root)
            if root is failed:
                fail(child)
            child.end()
    assert spans.sink.stats().queued == 10
    spans.start("child", parent=sound).end()
    assert len(collected(spans)) == 5
    assert spans.sink.stats().queued == 6
    failed.end()
    sound.end()
    assert len(collected(spans)) == 6
    for _ in range(10):
        spans.start("root", parent=TraceContext()).end()
    assert len(spans.sink._decisions) == 3


def test_time_is_bounded(make: Make) -> None:
    """A trace whose root does not end is decided on the processor's own thread when its time is up."""
    spans = make(HasError(), options=TailOptions(max_wait=0.05))
    arrived = threading.Event()
    passing = spans.sink._sink.on_end

    def on_end(span: Span) -> None:
        passing(span)
        arrived.set()

    spans.sink._sink.on_end = on_end
    with spans.start("root"):
        with spans.start("child") as child:
            fail(child)
        assert arrived.wait(10)
    assert [span.name for span in collected(spans)] == ["child", "root"]


def test_flush_and_shutdown_decide_what_is_pending(make: Make) -> None:
    """Nothing stays held back: both decide by what there is; afterwards spans pass to the queue, which counts them."""
    spans = make(HasError())
    root = spans.start("root")
    child = spans.start("child", parent=root)
    fail(child)
    child.end()
    assert spans.flush(5)
    assert [span.name for span in collected(spans)] == ["child"]
    other = spans.start("other", parent=TraceContext())
    fail(spans.start("orphan", parent=other))
    spans.start("orphan", parent=other).end()
    assert spans.shutdown(5)
    assert spans.shutdown(5)
    assert spans.sink.stats().queued == 0
    assert spans.sink.stats().dropped == {"tail_sampled": 1}
    root.end()
    assert collected(spans)[-1] is root


def test_a_policy_that_raises_keeps_the_trace(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A broken policy loses nothing and is complained about once."""

    class Broken(TailPolicy):
        def probability(self, trace: TailTrace) -> float:
            raise RuntimeError("broken")

    spans = make(Broken())
    for _ in range(3):
        spans.start("root").end()
    assert len(collected(spans)) == 3
    assert len(caplog.records) == 1


def test_many_threads_lose_nothing(make: Make) -> None:
    """Spans of one trace end on several threads at once: each is kept or counted, exactly once."""
    spans = make(Probability(0.5))

    def run() -> None:
        for _ in range(200):
            root = spans.start("root")
            children = [spans.start("child", parent=root) for _ in range(3)]
            threads = [threading.Thread(target=span.end) for span in (children[0], root)]
            for thread in threads:
                thread.start()
            for span in children[1:]:
                span.end()
            for thread in threads:
                thread.join()

    workers = [threading.Thread(target=run) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    spans.flush(5)
    stats = spans.sink.stats()
    assert len(collected(spans)) + stats.dropped["tail_sampled"] == 3 * 200 * 4
    by_trace: dict[int, int] = {}
    for span in collected(spans):
        by_trace[span._trace_id] = by_trace.get(span._trace_id, 0) + 1
    assert set(by_trace.values()) == {4}


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_holds_back_nothing_of_its_parents(make: Make) -> None:
    """The parent decides on what it held back; the child starts empty, with a lock that nobody holds."""
    spans = make(HasError())
    root = spans.start("root")
    child_span = spans.start("child", parent=root)
    fail(child_span)
    child_span.end()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with spans.sink._lock:
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    child = os.fork()
    if not child:
        spans.start("in the child", parent=TraceContext()).end()
        stats = spans.sink.stats()
        os._exit(0 if (stats.queued, stats.dropped) == (0, {"tail_sampled": 1}) and not collected(spans) else 1)
    release.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    root.end()
    assert len(collected(spans)) == 2


def test_what_is_held_back_is_delivered_when_the_process_ends() -> None:
    """At exit the tail sampler decides before the queue is emptied, so that nothing arrives too late."""
    script = """
from kai_tracing_core.processing.batch import BatchProcessor
from kai_tracing_core.processing.pipeline import PipelineConfig, SpanPipeline
from kai_tracing_core.processing.processor import SpanExporter
from kai_tracing_core.sampling.tail import Tail
from kai_tracing_core.sampling.tail_policies import Probability

class Printing(SpanExporter):
    def export(self, spans, timeout):
        print(*[span.name for span in spans], flush=True)
        return 0

sampler = Tail(Probability(1.0))
pipeline = SpanPipeline(PipelineConfig(sampler=sampler), sampler.wrap_sink(BatchProcessor(Printing())))
root = pipeline.start("root")
pipeline.start("child", parent=root).end()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["child"], done.stderr


def _two_services(make: Make, channels: tuple[DecisionChannel, DecisionChannel], wait: float) -> list[SpanPipeline]:
    options = TailOptions(decision_wait=wait, poll_interval=0.01)
    return [
        make(HasError(), options=options, channel=channel, seed=seed, sampler=ParentBased(AlwaysOn()))
        for seed, channel in enumerate(channels)
    ]


def _call(frontend: SpanPipeline, backend: SpanPipeline, *, front_fails: bool, back_fails: bool = False) -> None:
    with frontend.start("client") as client:
        context = client.trace_context
        context.is_remote = True
        with backend.start("server", parent=context) as server:
            if back_fails:
                fail(server)
        if front_fails:
            fail(client)


def _wait_for(condition: Callable[[], bool]) -> None:
    ticking = threading.Event()
    for _ in range(1000):
        if condition():
            return
        ticking.wait(0.01)
    raise AssertionError("it did not happen")


def test_other_services_follow_the_roots_verdict(make: Make) -> None:
    """The called service holds its part back until the caller, which has the root, has decided."""
    channel = InProcessDecisionChannel()
    frontend, backend = _two_services(make, (channel, channel), 30)
    _call(frontend, backend, front_fails=True)
    _wait_for(lambda: len(collected(backend)) == 1)
    _call(frontend, backend, front_fails=False)
    _wait_for(lambda: backend.sink.stats().dropped == {"tail_sampled": 1})
    assert len(collected(frontend)) == 1


def test_a_part_with_a_reason_of_its_own_is_kept(make: Make) -> None:
    """A service that failed keeps its part whatever the root says."""
    channel = InProcessDecisionChannel()
    frontend, backend = _two_services(make, (channel, channel), 30)
    _call(frontend, backend, front_fails=False, back_fails=True)
    assert [span.name for span in collected(backend)] == ["server"]
    assert not collected(frontend)


def test_verdicts_reach_other_processes_over_http(make: Make) -> None:
    """The same by way of a real server of verdicts."""
    with Server(Backend()) as server:
        url = f"{server.url}/api/decisions"
        frontend, backend = _two_services(make, (HttpDecisionChannel(url), HttpDecisionChannel(url)), 30)
        _call(frontend, backend, front_fails=True)
        _wait_for(lambda: len(collected(backend)) == 1)
        for pipeline in (frontend, backend):
            pipeline.shutdown(5)


def test_without_a_verdict_ones_own_policy_decides(make: Make) -> None:
    """With the channel broken, or the root's process gone, a part waits only so long; failures are counted."""
    dead = HttpDecisionChannel("http://127.0.0.1:9", timeout=0.5)
    frontend, backend = _two_services(make, (dead, dead), 0.05)
    _call(frontend, backend, front_fails=True)
    _wait_for(lambda: backend.sink.stats().dropped == {"tail_sampled": 1})
    assert len(collected(frontend)) == 1
    assert backend.sink.channel_errors
    for pipeline in (frontend, backend):
        pipeline.shutdown(1)


def test_as_a_sampler_tail_is_its_head() -> None:
    """The provider gets one object: a sampler that decides as its head does, and what to put before the queue."""
    tail = Tail(HasError(), head=ParentBased(ConsistentProbability(0.5)))
    assert tail.inherits_local
    collector = Collector()
    sink = tail.wrap_sink(collector)
    assert isinstance(sink, TailProcessor)
    sink.shutdown(1)
    assert collector.shut_down


def test_latency_of_a_trace_whose_root_still_runs(make: Make) -> None:
    """What must be decided early is decided by what is known: from the first start to the last end."""
    spans = make(Latency(0.5))
    root = spans.start("root", start_time=10**9)
    spans.start("child", parent=root, start_time=10**9).end(2 * 10**9)
    spans.sink.flush(10)
    assert [span.name for span in collected(spans)] == ["child"]
    root.end()
