"""Tail sampling in the collector: nothing acknowledged is lost; its settings, and a running backend with it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from kai_tracing_backend.sampling.journal import Journal
from kai_tracing_backend.sampling.tail import TailOptions, TailSampling, keeps
from kai_tracing_backend.sampling.tail_settings import load_tail
from kai_tracing_backend.storage.contract import StoreError, StoreFullError
from kai_tracing_backend.testing.store_contract import EVER, batch, span

from kai_tracing_core.errors import ConfigurationError
from kai_tracing_core.sampling.tail_policies import (
    HasError,
    Probability,
)
from tests.support.backend import ask, free_ports, running
from tests.support.tail import Make, Sink, ids, put, settle

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
