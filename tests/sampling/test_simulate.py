"""`kai-tracing sampling simulate` on real and on broken recordings."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kai_tracing_core.cli.app import cli
from kai_tracing_core.sampling.config import SamplerContext, create_sampler
from kai_tracing_core.sampling.recording import read_recording
from kai_tracing_core.sampling.replay import replay
from tests.support.recordings import DATA, needs_data

SHOP = DATA / "onlineboutique.otlp.jsonl.gz"


def simulate(*arguments: str | Path) -> Result:
    """The command's outcome."""
    return CliRunner().invoke(cli, ["sampling", "simulate", *map(str, arguments)])


def report(*arguments: str | Path) -> dict[str, Any]:
    """The command's report."""
    result = simulate(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.output))


def _span(trace: int, number: int, parent: int = 0, *, seconds: float = 0.01, failed: bool = False) -> dict[str, Any]:
    start = 10**18 + trace * 10**9 + number
    return {
        "traceId": f"{random.Random(trace).getrandbits(128):032x}",
        "spanId": f"{number:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": f"operation {parent}",
        "kind": 2,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + int(seconds * 1e9) - number),
        "status": {"code": 2} if failed else {},
        "attributes": [{"key": "http.response.status_code", "value": {"intValue": "500" if failed else "200"}}],
    }


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """200 traces of two services, every tenth failed in the called one and every twentieth slow; two lines."""
    lines = []
    for service, first in (("shop", True), ("stock", False)):
        spans = []
        for trace in range(200):
            seconds = 2.0 if trace % 20 == 0 else 0.01
            spans.append(
                _span(trace, 1, seconds=seconds)
                if first
                else _span(trace, 2, 1, seconds=seconds / 2, failed=trace % 10 == 0)
            )
        attributes = [{"key": "service.name", "value": {"stringValue": service}}]
        lines.append(
            json.dumps(
                {
                    "resourceSpans": [
                        {"resource": {"attributes": attributes}, "scopeSpans": [{"scope": {}, "spans": spans}]}
                    ]
                }
            )
        )
    path = tmp_path / "traces.jsonl"
    path.write_text("\n".join(lines) + "\n\n")
    return path


@needs_data
def test_the_real_recording_is_replayed_whole() -> None:
    """Everything is kept by `always_on`; a ratio keeps whole traces and estimates their number within its error bar."""
    everything = report(SHOP, "--policy", "always_on")
    assert (everything["spans_kept"], everything["traces_kept"]) == (23019, 497)
    assert everything["bytes_kept"] == everything["bytes"] > 5_000_000
    quarter = report(SHOP, "--policy", "ratio:0.25")
    assert quarter["traces_partial"] == 0
    (rate,) = quarter["rates"]
    assert rate["true"] == 497
    assert abs(rate["estimated"] - 497) <= rate["bar"]


def test_tail_policies_lose_no_errors_and_no_slow_traces(recording: Path) -> None:
    """What the policies look for is kept; a plain ratio of the same size loses most of it."""
    tail = report(recording, "--policy", "tail:error,latency=1", "--slow", "1")
    assert tail["errors"] == {"total": 20, "lost": 0}
    assert tail["slow"] == {"total": 10, "lost": 0}
    ratio = report(recording, "--policy", "ratio:0.1", "--slow", "1")
    assert ratio["errors"]["lost"] > 10


def test_services_with_a_decision_channel_keep_whole_traces(recording: Path, tmp_path: Path) -> None:
    """Without a channel each service decides for its part; with one they follow the root's verdict."""
    policy = {"type": "tail", "policies": ["probability=0.2"], "head": "always_on"}
    alone = {**policy, "policies": ["latency=1.5"]}
    (tmp_path / "alone.json").write_text(json.dumps(alone))
    (tmp_path / "together.json").write_text(json.dumps({**alone, "decision_channel": "http://127.0.0.1:9"}))
    assert report(recording, "--policy", tmp_path / "alone.json")["traces_partial"] == 10
    assert report(recording, "--policy", tmp_path / "together.json")["traces_partial"] == 0


def test_policies_come_from_toml_files_and_gzipped_recordings_are_read(recording: Path, tmp_path: Path) -> None:
    """The `sampler` table of a settings file is a policy; compression is recognised by its content."""
    packed = tmp_path / "traces.bin"
    packed.write_bytes(gzip.compress(recording.read_bytes()))
    settings = tmp_path / "tracing.toml"
    settings.write_text(
        'service_name = "shop"\n[sampler]\ntype = "rules"\ndefault = "always_on"\n'
        'rules = [{ service = "shop", name = "operation*", sampler = "always_off" }]\n'
    )
    assert report(packed, "--policy", settings)["spans_kept"] == 0


def test_rates_follow_the_recordings_own_clock(recording: Path) -> None:
    """Two traces a second of one trace a second are all of them, however fast the replay is."""
    assert report(recording, "--policy", "rate_limiting:2")["traces_kept"] == 200
    limited = report(recording, "--policy", "rate_limiting:0.5")
    assert limited["traces_kept"] == pytest.approx(100, abs=3)
    assert limited["rates"][0]["estimated"] == pytest.approx(200, abs=3)


def test_the_estimate_is_unbiased_over_seeds(recording: Path) -> None:
    """Over many recordings with other ids the estimated rate is the true one."""
    spans = list(read_recording(recording))
    estimates = []
    for seed in range(40):
        ids = random.Random(seed)
        traces = {span.trace_id: ids.getrandbits(128) for span in spans}
        for span in spans:
            span.trace_id = traces[span.trace_id]
        result = replay(
            spans,
            lambda service, clock: create_sampler("tail:error,probability=0.2", context=SamplerContext(service, clock)),
        )
        estimates.append(sum(rate.estimated for rate in result.rates))
    assert sum(estimates) / len(estimates) == pytest.approx(200, rel=0.05)


def test_the_report_for_people(recording: Path) -> None:
    """The table has the kept share, what is lost, and an estimate with its error bar for each operation."""
    result = simulate(recording, "--policy", "ratio:0.5")
    assert result.exit_code == 0
    for part in ("kept", "failed traces lost", "slow traces lost", "bytes", "operation 0", "± (95 %)"):
        assert part in result.output


def test_operations_past_the_limit_are_counted(tmp_path: Path) -> None:
    """The table says how many operations it leaves out."""
    spans = [{**_span(number, number), "name": f"operation {number}"} for number in (1, 2, 3)]
    path = tmp_path / "three.jsonl"
    path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}))
    assert "and 2 more operations" in simulate(path, "--policy", "always_on", "--operations", "1").output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"resourceSpans": []}\nnot json\n', "bad.jsonl:2: no JSON"),
        ("{}\n", "bad.jsonl:1: no OTLP spans: resourceSpans is missing"),
        ('{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz", "spanId": "1"}]}]}]}', "bad.jsonl:1:"),
        ('{"resourceSpans": [{"scopeSpans": [{"spans": [7]}]}]}', "bad.jsonl:1:"),
        ("[1]\n", "bad.jsonl:1:"),
    ],
)
def test_broken_recordings_are_told_by_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    """A line that is no request ends the command with a message that says where it is."""
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    result = simulate(path, "--policy", "always_on")
    assert result.exit_code == 1
    assert said in result.output


def test_other_mistakes_are_told(tmp_path: Path, recording: Path) -> None:
    """A missing file, a truncated archive, a wrong policy and a broken policy file: messages, no tracebacks."""
    truncated = tmp_path / "truncated.gz"
    truncated.write_bytes(gzip.compress(recording.read_bytes())[:-100])
    (tmp_path / "policy.toml").write_text("type = ")
    (tmp_path / "list.json").write_text("[]")
    for arguments, said in (
        ((tmp_path / "missing.jsonl", "--policy", "always_on"), "missing.jsonl"),
        ((truncated, "--policy", "always_on"), "truncated.gz"),
        ((recording, "--policy", "ratio:7"), "policy.probability"),
        ((recording, "--policy", tmp_path / "policy.toml"), "policy.toml"),
        ((recording, "--policy", tmp_path / "missing.toml"), "missing.toml"),
        ((recording, "--policy", tmp_path / "list.json"), "no table"),
    ):
        result = simulate(*arguments)
        assert result.exit_code == 1
        assert said in result.output


def test_traces_without_a_whole_root(tmp_path: Path) -> None:
    """Spans whose parents make a circle, or are not in the recording, are decided once each, as in any other trace."""
    spans = [_span(1, 1, 2), _span(1, 2, 1), _span(2, 3, 9), _span(2, 4, 3)]
    path = tmp_path / "odd.jsonl"
    path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}))
    for policy in ("always_on", "tail:error"):
        found = report(path, "--policy", policy)
        assert (found["spans"], found["traces"]) == (4, 2)


def test_an_empty_recording_is_no_mistake(tmp_path: Path) -> None:
    """Nothing in, nothing out."""
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    assert report(path, "--policy", "ratio:0.1")["spans"] == 0
    assert simulate(path, "--policy", "tail").exit_code == 0


def test_arrays_are_read(tmp_path: Path) -> None:
    """An attribute that is an array is one in a recording, too."""
    span = _span(1, 1)
    span["attributes"] = [
        {"key": "tags", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "7"}]}}}
    ]
    path = tmp_path / "arrays.jsonl"
    path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}))
    (read,) = read_recording(path)
    assert read._attributes == {"tags": ["a", 7]}
