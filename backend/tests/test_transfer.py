"""Traces to files and from files, over the API and the command line of a running backend."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from kai_tracing_backend.app import Backend
from kai_tracing_backend.cli.transfer import export, import_files
from kai_tracing_backend.collector.importing import decode
from kai_tracing_backend.columns import to_span
from kai_tracing_backend.formats import chrome, jaeger, otlp
from kai_tracing_backend.formats.exporting import FORMATS
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.testing.store_contract import EVER, NOON, batch, span

from kai_tracing_core.processing.tags import ADJUSTED_COUNT
from tests.support.backend import Answer, ask, running
from tests.support.recordings import DATA, needs_data
from tests.support.spans import SPANS

HOUR = 3_600_000_000_000
ERROR = span(
    0xABCD,
    1,
    name="GET /<script>alert(1)</script>",
    status=2,
    status_message="why",
    kind=2,
    duration=5_000_000,
    attributes={"n": 7, "http.route": "/a", "yes": True, "l": [1, "x"]},
)
TRACE = [ERROR, span(0xABCD, 2, 1, service="b", at=NOON + 4_000, kind=3, duration=9_000_000)]


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    """A backend that sweeps nothing."""
    with running(tmp_path, retention_interval=0) as made:
        yield made


def api(backend: Backend, path: str, body: bytes | None = None) -> Answer:
    """A request to the own API."""
    return ask(backend.settings.api_port, f"/api/v1/{path}", body, "application/octet-stream")


def command(backend: Backend, what: Any, *arguments: str, status: int = 0) -> str:
    """What a command prints."""
    url = f"http://127.0.0.1:{backend.settings.api_port}"
    result = CliRunner().invoke(what, [*arguments, "--url", url], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.output


def imported(text: str, kind: str | None = None) -> list[StoredSpan]:
    """The spans of a file; all of them must be good."""
    tables, accepted = decode(text.encode(), kind)
    assert accepted.rejected == 0, accepted.message
    rows = [row for table in tables for row in table.to_pylist()]
    return [to_span({**row, "attributes_other": dict(row["attributes_other"] or ())}) for row in rows]


def written(kind: str, *traces: list[StoredSpan]) -> str:
    """The file of some traces."""
    return "".join(FORMATS[kind].write(traces))


# -- formats -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["otlp", "zipkin", "jaeger"])
@settings(max_examples=30, deadline=None)
@given(spans=st.lists(SPANS, min_size=1, max_size=4))
def test_a_file_that_is_written_is_read_again(kind: str, spans: list[StoredSpan]) -> None:
    """The format is told by the content; written again, the file is the same."""
    first = imported(written(kind, *([one] for one in _receivable(spans))))
    assert len(first) == len(spans)
    again = imported(written(kind, *([one] for one in first)))
    assert _by_id(again) == _by_id(first)


def _receivable(spans: list[StoredSpan]) -> list[StoredSpan]:
    """As spans may arrive, each of a trace of its own that stands for itself alone."""
    return [
        replace(one, trace_id=f"{n:032x}", duration=one.duration % HOUR, adjusted_count=1.0, trace_state="")
        for n, one in enumerate(spans, 1)
    ]


@pytest.mark.parametrize("kind", ["otlp", "zipkin", "jaeger"])
@settings(max_examples=10, deadline=None)
@given(
    one=SPANS,
    count=st.sampled_from([1.0, 2.0]) | st.floats(1, 1e6),
    state=st.sampled_from(["", "ot=th:8;rv:ffffffffffffff", "a=b,ot=th:8"]),
)
def test_what_a_span_stands_for_survives_a_file(kind: str, one: StoredSpan, count: float, state: str) -> None:
    """The adjusted count is told by the trace state where it is the same, else by an attribute; once more, too."""
    (plain,) = _receivable([one])
    sent = replace(plain, adjusted_count=count, trace_state=state)
    (found,) = imported(written(kind, [sent]))
    assert found.adjusted_count == count
    (again,) = imported(written(kind, [found]))
    assert again.adjusted_count == count
    assert again.attributes.get(ADJUSTED_COUNT) == found.attributes.get(ADJUSTED_COUNT)


def _by_id(spans: list[StoredSpan]) -> list[Any]:
    return sorted((one.trace_id, one.span_id, one.name, one.start_time, one.duration, one.kind) for one in spans)


@settings(max_examples=50, deadline=None)
@given(one=SPANS)
def test_otlp_carries_everything(one: StoredSpan) -> None:
    """A span comes back as it was, but for what follows from other fields of it."""
    (sent,) = _receivable([one])
    (found,) = imported(written("otlp", [sent]))
    assert _ordered(otlp.span_document(found)) == _ordered(otlp.span_document(sent))


def _ordered(node: Any) -> Any:
    """With attributes by key: the store does not keep their order."""
    if isinstance(node, dict):
        return {key: _ordered(value) for key, value in node.items()}
    return sorted(map(_ordered, node), key=json.dumps) if isinstance(node, list) else node


@settings(max_examples=50, deadline=None)
@given(one=SPANS)
def test_jaeger_carries_what_jaeger_has(one: StoredSpan) -> None:
    """What was read from Jaeger's JSON is written as the same JSON."""
    document = jaeger.trace_document([imported(written("jaeger", _receivable([one])))[0]])
    (found,) = imported(json.dumps(document))
    assert jaeger.trace_document([found]) == document


def test_chrome_events_nest_and_calls_are_arrows() -> None:
    """As the Trace Event Format says: slices of a thread nest, each arrow has both ends, names are metadata."""
    spans = [
        *TRACE,
        span(0xABCD, 3, 1, at=NOON + 1_000, duration=3_000_000),
        span(0xABCD, 4, 1, at=NOON + 2_000, duration=4_000_000),
    ]
    events = chrome.trace_events(spans)["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    assert len(slices) == 4
    for one in slices:
        for other in slices:
            if one is not other and (one["pid"], one["tid"]) == (other["pid"], other["tid"]):
                apart = one["ts"] + one["dur"] <= other["ts"] or other["ts"] + other["dur"] <= one["ts"]
                inside = one["ts"] <= other["ts"] and other["ts"] + other["dur"] <= one["ts"] + one["dur"]
                outside = other["ts"] <= one["ts"] and one["ts"] + one["dur"] <= other["ts"] + other["dur"]
                assert apart or inside or outside
    flows = [event for event in events if event["ph"] in "sf"]
    assert sorted(event["ph"] for event in flows if event["id"] == flows[0]["id"]) == ["f", "s"]
    names = {event["args"]["name"] for event in events if event["ph"] == "M"}
    assert {"a", "b", "a 1", "a 2"} <= names


@settings(max_examples=15, deadline=None)
@given(spans=st.lists(SPANS, min_size=1, max_size=3))
def test_chrome_events_have_the_fields_of_their_phase(spans: list[StoredSpan]) -> None:
    """What the Trace Event Format requires of each event, for spans of any shape; all of it is JSON."""
    required = {
        "X": {"name", "cat", "ts", "dur", "pid", "tid"},
        "i": {"name", "ts", "pid", "tid", "s"},
        "s": {"name", "cat", "ts", "pid", "tid", "id"},
        "f": {"name", "cat", "ts", "pid", "tid", "id", "bp"},
        "M": {"name", "pid", "args"},
    }
    text = written("chrome", [replace(one, trace_id=f"{1:032x}") for one in _receivable(spans)])
    for event in json.loads(text)["traceEvents"]:
        assert required[event["ph"]] <= event.keys()
        assert event.get("dur", 0) >= 0
        assert isinstance(event["name"], str)
        assert event["name"]


def test_the_page_has_no_markup_of_senders_and_loads_nothing() -> None:
    """Names are data; there is no address in it, and its policy allows none."""
    page = written("html", TRACE)
    assert "<script>alert" not in page
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page
    data = page.split('id="data">')[1].split("</script>")[0]
    (trace,) = json.loads(data)
    assert [one["name"] for one in trace["spans"]] == [ERROR.name, "op"]


# -- import ------------------------------------------------------------------------------------------------------------


@needs_data
def test_recordings_are_imported_with_the_counts_of_their_truth(backend: Backend) -> None:
    """23,019 spans, 497 traces, 13 edges of 2022, which no sweep takes at once; again changes nothing."""
    truth = json.loads((DATA / "onlineboutique.truth.json").read_text())
    recording = str(DATA / "onlineboutique.otlp.jsonl.gz")
    assert f"{truth['spans']} spans" in command(backend, import_files, recording)
    command(backend, import_files, recording)
    store = backend.tenants.get().store
    assert sum(rate.spans for rate in store.rates(*EVER)) == truth["spans"]
    assert {(edge.parent, edge.child): edge.calls for edge in store.dependencies(*EVER)} == {
        (edge["parent"], edge["child"]): edge["callCount"] for edge in truth["edges"]
    }
    spans, trace_id = truth["largest"]
    assert len(store.trace(trace_id)) == spans
    plan = backend.keeper.plan(backend.tenants.get())
    assert plan.tenant.days == []


@needs_data
def test_zipkin_recordings_are_imported_whole(backend: Backend) -> None:
    """Every span, those without a time as well."""
    for path in sorted(DATA.glob("zipkin-*.json.gz")):
        spans = json.loads(gzip.decompress(path.read_bytes()))
        answer = api(backend, "import", path.read_bytes()).json
        assert answer == {"accepted": len(spans), "rejected": 0, "message": ""}, path.name
        for trace_id in {one["traceId"] for one in spans}:
            stored = backend.tenants.get().store.trace(trace_id)
            assert len(stored) == sum(one["traceId"] == trace_id for one in spans)


def test_times_are_moved_to_now(backend: Backend, tmp_path: Path) -> None:
    """All by the same, in each format; the newest span ends now."""
    for number, kind in enumerate(("otlp", "zipkin", "jaeger"), 1):
        trace = [span(number, 1, duration=HOUR), span(number, 2, 1, at=NOON + 1_000_000, duration=1_000)]
        (tmp_path / kind).write_text(written(kind, trace))
        command(backend, import_files, str(tmp_path / kind), "--shift-to-now")
        first, second = backend.tenants.get().store.trace(f"{number:x}")
        assert second.start_time - first.start_time == 1_000_000
        assert time.time_ns() - 120 * 10**9 < first.start_time + (0 if kind != "otlp" else HOUR) < time.time_ns() + HOUR


def test_what_cannot_be_imported_is_named(backend: Backend, tmp_path: Path) -> None:
    """The file and the line; nothing of what comes after it is stored."""
    path = tmp_path / "bad.jsonl"
    good = written("otlp", [span(1)])
    path.write_text(good + good + "{nonsense\n")
    assert f"{path}, line 3: not JSON" in command(backend, import_files, str(path), status=1).replace("\n", " ")
    path.write_text('{"something": "else"}')
    assert "neither OTLP JSON" in command(backend, import_files, str(path), status=1)
    path.write_bytes(b"\x1f\x8bnothing")
    assert "cannot be read" in command(backend, import_files, str(path), status=1)
    assert api(backend, "import", b"\x1f\x8bnothing").status == 400
    assert api(backend, "import?format=zipkin", b"{}").status == 400
    path.write_bytes(b"x\n")
    assert f"{path}: neither JSON nor OTLP" in command(backend, import_files, str(path), status=1).replace("\n", " ")
    assert api(backend, "import?format=zipkin", b"x\n").status == 400
    path.write_text(good)
    assert "Error: keep: " in command(backend, import_files, str(path), "--keep", "1m", status=1)


def test_protobuf_is_imported(backend: Backend, tmp_path: Path) -> None:
    """Plain and gzip, moved to now or not."""
    body = otlp.traces_message([span(5), span(5, 2, 1)]).SerializeToString()
    (tmp_path / "a.pb").write_bytes(body)
    (tmp_path / "b.pb.gz").write_bytes(gzip.compress(body))
    answer = command(backend, import_files, str(tmp_path / "a.pb"), str(tmp_path / "b.pb.gz"), "--json")
    assert json.loads(answer) == {"accepted": 4, "rejected": 0}
    command(backend, import_files, str(tmp_path / "a.pb"), "--shift-to-now")
    assert len(backend.tenants.get().store.trace("5")) == 4


# -- export ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_a_trace_and_a_search_are_exported(backend: Backend, tmp_path: Path, kind: str) -> None:
    """To a file whose name may say the format, by id or by query, over the API with its type and name."""
    backend.tenants.get().store.write(batch(*TRACE, span(2)))
    answer = api(backend, f"traces/abcd/export?format={kind}")
    assert answer.headers["Content-Type"].startswith(FORMATS[kind].media_type.partition(";")[0])
    assert f"{0xABCD:032x}.{FORMATS[kind].extension}" in answer.headers["Content-Disposition"]
    output = tmp_path / f"out.{FORMATS[kind].extension}"
    command(backend, export, f"{0xABCD:032x}", "-o", str(output))
    assert output.read_bytes() == answer.body
    command(backend, export, "{ status = error }", "-o", str(output), "--since", "0", "--format", kind)
    assert output.read_bytes() == answer.body
    if kind in ("otlp", "zipkin", "jaeger"):
        assert len(imported(answer.body.decode())) == 2


def test_an_export_of_nothing_is_an_empty_file_or_an_error(backend: Backend) -> None:
    """A search may find nothing; a trace that is not there is 404, a query that is none 400."""
    assert api(backend, "export?format=zipkin").json == []
    assert api(backend, "export?format=jaeger").json == {"data": []}
    assert api(backend, "export").body == b""
    assert "no traces from now-1h to now" in command(backend, export, "{ }")
    assert api(backend, "traces/77/export").status == 404
    assert api(backend, "export?q=%7B").status == 400
    assert api(backend, "export?format=nothing").status == 400
