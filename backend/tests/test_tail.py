"""Tail sampling in the collector: which traces are kept, what they stand for, and that nothing acknowledged is lost."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.sampling.journal import Journal
from kai_tracing_backend.sampling.tail import TailOptions, TailSampling, keeps
from kai_tracing_backend.sampling.tail_settings import load_tail
from kai_tracing_backend.storage.contract import StoreError, StoreFullError
from kai_tracing_backend.storage.queue import QueueFullError
from kai_tracing_backend.testing.store_contract import EVER, batch, span

from kai_tracing_core.errors import ConfigurationError
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
from tests.support.backend import ask, free_ports, running

IMMEDIATE = TailOptions(root_wait=0.0, max_wait=1e6)


class Sink:
    """The stage behind: keeps what it is given, may refuse or fail, and can be waited for."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.refuse = self.fail = False
        self.changed = threading.Condition()
        self.full = False

    def submit(self, given: pa.Table) -> Future[int]:
        future: Future[int] = Future()
        with self.changed:
            if self.refuse:
                raise QueueFullError("full")
            if self.fail:
                future.set_exception(StoreFullError("no room"))
                return future
            self.rows += given.to_pylist()
            self.changed.notify_all()
        future.set_result(given.num_rows)
        return future

    def close(self) -> None:
        """Nothing to do."""

    def wait(self, rows: int) -> None:
        """Until so many have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.rows) >= rows, 60), len(self.rows)

    @property
    def traces(self) -> set[int]:
        return {row["trace_high"] << 64 | row["trace_low"] for row in self.rows}


Make = Callable[..., TailSampling]


@pytest.fixture
def sink() -> Sink:
    """What is behind the stage."""
    return Sink()


@pytest.fixture
def make(tmp_path: Path, sink: Sink) -> Iterator[Make]:
    """Makes stages over one journal; those that are left open are closed."""
    made: list[TailSampling] = []

    def create(policy: TailPolicy, options: TailOptions = IMMEDIATE, **more: Any) -> TailSampling:
        made.append(TailSampling(policy, Journal(tmp_path / "tail"), sink, options, **more))
        return made[-1]

    yield create
    for stage in made:
        stage.close()


def ids(seed: int) -> Iterator[int]:
    """Random trace ids, always the same."""
    source = random.Random(seed)
    return iter(lambda: source.getrandbits(128) | 1, 0)


def put(stage: TailSampling, spans: Iterable[StoredSpan]) -> None:
    """Submit, and wait for the acknowledgement."""
    stage.submit(batch(*spans)).result(60)


def settle(stage: TailSampling) -> None:
    """Wait until everything is decided."""
    deadline = time.monotonic() + 60
    while stage.held[0]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


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


# -- the journal -------------------------------------------------------------------------------------------------------


def crash(stage: TailSampling) -> None:
    """Let its threads end without writing anything more, as a killed process does."""
    stage._closed = True
    stage._bell.set()
    stage._worker.join(60)
    stage._queue.close()


def test_what_is_not_decided_survives(make: Make, sink: Sink, tmp_path: Path) -> None:
    """Acknowledged and undecided at a crash: the next process decides, with what comes after the restart."""
    first = make(HasError(), TailOptions(1e6, 1e6))
    put(first, [span(1, 1, attributes={"n": 1}), span(2, 1)])
    put(first, [span(1, 2, 1)])
    crash(first)
    assert not sink.rows
    second = make(HasError())
    put(second, [span(1, 3, 1, status=2)])
    sink.wait(3)
    assert sorted(row["span_id"] for row in sink.rows) == [1, 2, 3]
    assert dict(sink.rows[0]["attributes_int"]) == {"n": 1}
    second.close()
    assert not list((tmp_path / "tail").iterdir())  # nothing is needed any more


def test_a_verdict_outlives_the_process_that_reached_it(make: Make, sink: Sink) -> None:
    """Decided and not stored at a crash: the next process stores what was kept and nothing else.

    Its own policy would have decided otherwise, and is not asked.
    """
    sink.refuse = True
    kept, left = (next(i for i in ids(3) if keeps(i, 0.5) is wanted) for wanted in (True, False))
    first = make(Probability(0.5))
    put(first, [span(kept, 1), span(left, 1)])
    settle(first)
    crash(first)
    sink.refuse = False
    second = make(Probability(1.0))
    sink.wait(1)
    put(second, [span(7, 1)])
    sink.wait(2)
    assert [(row["trace_low"], row["adjusted_count"]) for row in sink.rows] == [(kept & (1 << 64) - 1, 2.0), (7, 1.0)]


@pytest.mark.parametrize("cut", [1, 10, 24, 200])
def test_half_a_record_is_skipped(make: Make, sink: Sink, tmp_path: Path, cut: int) -> None:
    """A record that was being written when the process died was not acknowledged; those before it are whole."""
    first = make(HasError(), TailOptions(1e6, 1e6))
    put(first, [span(1, 1)])
    (path,) = (tmp_path / "tail").iterdir()
    whole = path.stat().st_size
    put(first, [span(2, 1)])
    crash(first)
    with path.open("r+b") as file:
        file.truncate(whole + cut)
    second = make(Probability(1.0))
    sink.wait(1)
    put(second, [span(3, 1)])
    sink.wait(2)
    assert sink.traces == {1, 3}


def test_a_broken_segment_is_told(make: Make, sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What the disk has lost is said with the file and the place; what is before it and in other files is used."""
    journal = Journal(tmp_path / "tail", segment_bytes=1)
    for number in (1, 2, 3):
        journal.append(batch(span(number, 1)), {})
    journal.close()
    second = sorted((tmp_path / "tail").iterdir())[1]
    second.write_bytes(second.read_bytes()[:-5] + b"xxxxx")
    make(Probability(1.0))
    sink.wait(2)
    assert sink.traces == {1, 3}
    assert f"{second} is broken at byte 0" in caplog.text


def test_segments_go_oldest_first(tmp_path: Path) -> None:
    """So that a verdict in a later one is there for as long as the spans that it is about."""
    journal = Journal(tmp_path, segment_bytes=1)
    first = journal.append(batch(span(1, 1), span(2, 1)), {})
    second = journal.append(batch(span(3, 1)), {1: 0.0})
    third = journal.append(None, {2: 0.5})
    journal.release(first, 1)
    journal.release(second, 1)
    assert sorted(tmp_path.iterdir()) == [first.path, second.path, third.path]
    journal.close()
    assert Journal(tmp_path).verdicts() == {1: 0.0, 2: 0.5}
    journal.release(first, 1)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_refuses_and_goes_on(
    make: Make, sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of what was refused is there later; what comes when there is room again is."""
    stage = make(HasError(), TailOptions(1e6, 1e6))
    put(stage, [span(1, 1, status=2)])

    def no_room(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", no_room)
        with pytest.raises(StoreFullError, match="no room"):
            put(stage, [span(2, 1, status=2)])
    put(stage, [span(3, 1, status=2)])
    crash(stage)
    make(HasError())
    sink.wait(2)
    assert sink.traces == {1, 3}


def test_a_journal_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    """Where a file is in the way."""
    (tmp_path / "tail").write_text("")
    with pytest.raises(StoreError, match="the journal of tail sampling cannot be used"):
        Journal(tmp_path / "tail")


# -- settings ----------------------------------------------------------------------------------------------------------


def test_policies_in_short_and_in_files(tmp_path: Path) -> None:
    """The same in the setting, TOML, YAML and JSON; nothing means no tail sampling."""
    assert load_tail("") is None
    short = load_tail("error,latency=p95,probability=0.1")
    assert short is not None
    assert short.options() == TailOptions()
    texts = {
        "a.toml": 'root_wait = 2\npolicies = ["error", {type = "latency", percentile = 95}, "probability=0.1"]',
        "b.yaml": "root_wait: 2\npolicies: [error, {type: latency, percentile: 95}, probability=0.1]",
        "c.json": '{"root_wait": 2, "policies": ["error", "latency=p95", "probability=0.1"]}',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        table = load_tail(str(tmp_path / name))
        assert table is not None
        assert table.policies == short.policies
        assert table.options().root_wait == 2.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("policies: [eror]", "a.yaml: .policies[0]: 'eror' is none of error, latency, rate, probability"),
        ("policies: [probability=2]", "a.yaml: .policies[0].probability: "),
        ("policies: []", "a.yaml: .policies: "),
        ("policy: error", "a.yaml: .policy: "),
        ("policies: [error]\nroot_wait: -1", "a.yaml: .root_wait: "),
        ("- 5", "a.yaml has no table in it"),
        ("{", "a.yaml cannot be read: "),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    """The file and the field."""
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        load_tail(str(path))
    assert said in str(raised.value)


# -- in a running backend ----------------------------------------------------------------------------------------------


def otlp(trace_id: int, status: int = 0) -> bytes:
    """A trace of one span, as JSON."""
    now = time.time_ns()
    one = {"traceId": f"{trace_id:032x}", "spanId": f"{1:016x}", "name": "op", "status": {"code": status}}
    one |= {"startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 5)}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}).encode()


def test_a_backend_keeps_what_the_policies_say(tmp_path: Path) -> None:
    """Over HTTP, by the setting: failed traces are found, and rates count a kept share by its weight."""
    path = tmp_path / "tail.yaml"
    path.write_text("root_wait: 0.1\npolicies: [error, probability=0.5]")
    with running(tmp_path, tail_sampling=str(path)) as backend:
        for number in range(1, 41):
            body = otlp(number, 2 if number <= 5 else 0)
            assert ask(backend.settings.otlp_http_port, "/v1/traces", body).status == 200
        store = backend.tenants.get().store
        expected = {number for number in range(1, 41) if number <= 5 or keeps(number, 0.5)}
        deadline = time.monotonic() + 60
        while sum(rate.spans for rate in store.rates(*EVER)) < len(expected):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert {number for number in range(1, 41) if store.trace(f"{number:x}")} == expected
        assert sum(rate.weight for rate in store.rates(*EVER)) == 5 + 2 * (len(expected) - 5)
        text = ask(backend.settings.api_port, "/metrics").body.decode()
        assert f'tail_traces_total{{decision="kept",tenant="default"}} {len(expected)}.0' in text


def test_what_waits_is_kept_when_it_is_switched_off(tmp_path: Path) -> None:
    """A backend that is stopped with undecided traces and started without tail sampling has them all."""
    ports = {"otlp_http_port": free_ports(1)[0]}
    with running(tmp_path, tail_sampling="error", **ports) as backend:
        assert ask(backend.settings.otlp_http_port, "/v1/traces", otlp(1)).status == 200
        assert not backend.tenants.get().store.trace("1")
    with running(tmp_path) as backend:
        assert len(backend.tenants.get().store.trace("1")) == 1
    assert not list((tmp_path / "data" / "tail").iterdir())
