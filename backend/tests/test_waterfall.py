"""Traces drawn in the terminal: every span in its place and on the common time scale, whatever the trace is like."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from kai_tracing_backend.app import Backend
from kai_tracing_backend.cli.durations import duration, shown
from kai_tracing_backend.cli.spantree import tree
from kai_tracing_backend.cli.trace import trace
from kai_tracing_backend.cli.waterfall import waterfall
from kai_tracing_backend.testing.store_contract import batch, span
from rich.cells import cell_len

TRACE = "0af7651916cd43dd8448eb211c80319c"
MS = 1_000_000
EPOCH = 1_790_000_000_000_000_000


def document(number: int, parent: int | None, start: int, duration: int, **more: Any) -> dict[str, Any]:
    """A span as the API has it; start and duration in milliseconds."""
    return {
        "traceId": TRACE,
        "spanId": f"{number:016x}",
        "parentSpanId": "" if parent is None else f"{parent:016x}",
        "name": f"op{number}",
        "service": "shop",
        "kind": 0,
        "startTimeUnixNano": str(EPOCH + start * MS),
        "endTimeUnixNano": str(EPOCH + (start + duration) * MS),
        "status": {"code": 0, "message": ""},
        "attributes": [],
        "events": [],
        "links": [],
        "resource": {"attributes": [{"key": "host.name", "value": {"stringValue": "a"}}], "schemaUrl": ""},
        "scope": {"name": "lib", "version": "1", "attributes": [], "schemaUrl": ""},
        "adjustedCount": 1.0,
        **more,
    }


FAILED = {
    "status": {"code": 2, "message": ""},
    "events": [
        {
            "timeUnixNano": str(EPOCH + 55 * MS),
            "name": "exception",
            "attributes": [
                {"key": "exception.type", "value": {"stringValue": "OSError"}},
                {"key": "exception.message", "value": {"stringValue": "no bank"}},
            ],
        }
    ],
}
SPANS = [
    document(1, None, 0, 100),
    document(2, 1, 10, 30, attributes=[{"key": "n", "value": {"intValue": "7"}}]),
    document(3, 1, 50, 40, service="pay", **FAILED),
    document(4, 3, 60, 0, service="pay"),
]


def drawn(documents: list[dict[str, Any]], width: int = 100, **options: int) -> list[str]:
    """The lines."""
    return [line.plain for line in waterfall(documents, width, **options)]


def test_a_line_for_each_span_behind_its_parent() -> None:
    """Head, time scale, spans with guides, services, durations and bars; a failure says why."""
    lines = drawn(SPANS, 60)
    assert lines[:2] == ["shop: op1", f"trace {TRACE}"]
    assert lines[2].startswith("100 ms  4 spans  1 error  2 services  2026-")
    assert lines[3].split() == ["0", "100", "ms"]
    assert drawn(SPANS, 90)[3].split() == ["0", "33.3", "ms", "66.7", "ms", "100", "ms"]
    assert [line.split("  ")[0] for line in lines[4:7]] == ["op1", "├ op2", "└ op3"]
    assert lines[7] == "    ✗ OSError: no bank"
    assert lines[8].startswith("  └ op4")


def test_bars_share_one_scale() -> None:
    """Each begins and ends where its span did, to half a cell; one without a duration has half a cell."""
    lines = [line for line in drawn(SPANS, 120) if "op" in line][1:]
    scale = next(line for line in drawn(SPANS, 120) if line.lstrip().startswith("0 "))
    left = scale.index("0")
    width = len(lines[0]) - left
    for line, (start, end) in zip(lines, [(0, 100), (10, 40), (50, 90), (60, 60)], strict=True):
        bar = line[left:]
        assert abs(len(bar) - len(bar.lstrip()) - width * start / 100) <= 1
        assert abs(len(bar.rstrip()) - max(width * end / 100, width * start / 100)) <= 1
        assert bar.strip()


def test_more_is_shown_when_asked_for() -> None:
    """Attributes and events with -v, resource and scope with -vv, the rest of a long trace with a limit of 0."""
    text = "\n".join(drawn(SPANS, verbose=1))
    assert "n = 7" in text
    assert "● 5.00 ms  exception" in text
    assert "host.name" not in text
    text = "\n".join(drawn(SPANS, verbose=2))
    assert "resource.host.name = a" in text
    assert "scope lib 1" in text
    text = "\n".join(drawn(SPANS, limit=2))
    assert "op3" not in text
    assert "… and 2 more" in text


@pytest.mark.parametrize("width", [24, 40, 60, 90, 200])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    """However deep, long or wide the names are; services and durations stay readable before the bars do."""
    names = ["a" * 300, "漢字" * 100, "\x1b[2Jx\n", ""]
    deep = [document(n, n - 1 or None, n, 500 - n, name=names[n % 4], service=names[n % 3]) for n in range(1, 101)]
    lines = drawn(deep, width, verbose=2)
    assert max(map(cell_len, lines)) <= width
    assert not any("\x1b" in line or "\n" in line for line in lines)
    assert sum("ms" in line or "µs" in line for line in lines) >= 100


def test_spans_without_their_parents_stand_at_the_left() -> None:
    """A trace that is not whole loses nothing, and spans that circle are there once."""
    rows = tree([document(2, 9, 5, 1), document(1, None, 0, 9), document(3, 2, 6, 1), document(4, 5, 7, 1)])
    assert [(row.span.span_id[-1], row.guides) for row in rows] == [("1", ""), ("2", ""), ("3", "└ "), ("4", "")]
    rows = tree([document(1, 2, 0, 1), document(2, 1, 1, 1), document(3, 3, 2, 1)])
    assert [row.span.span_id[-1] for row in rows] == ["1", "2", "3"]


def test_two_halves_of_a_call_may_share_an_id() -> None:
    """As Zipkin's do: the server's is the client's child and has the children, whichever began first."""
    spans = [document(1, None, 0, 9), document(2, 1, 2, 5, kind=3), document(2, 1, 1, 6, kind=2), document(3, 2, 3, 1)]
    assert [(row.span.kind, row.guides) for row in tree(spans)] == [(0, ""), (3, "└ "), (2, "  └ "), (0, "    └ ")]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 8),
            st.none() | st.integers(1, 8),
            st.integers(-5, 10**6),
            st.integers(0, 10**6),
            st.sampled_from((0, 2, 3)),
        ),
        min_size=1,
        max_size=20,
    ),
    st.integers(24, 160),
)
def test_any_trace_is_drawn_whole(made: list[tuple[int, int | None, int, int, int]], width: int) -> None:
    """Whatever the ids, the parents, circles and clocks: every span once, no line too long."""
    documents = [document(*values, kind=kind) for *values, kind in made]
    rows = tree(documents)
    assert sorted(id(row.span.document) for row in rows) == sorted(map(id, documents))
    lines = drawn(documents, width)
    assert max(map(cell_len, lines)) <= width


def test_the_command_draws_what_the_backend_has(backend: Backend) -> None:
    """From a real store; JSON for machines; what is no id is said without asking."""
    root = span(trace=7, name="GET /cart")
    backend.tenants.get().store.write(batch(root, span(trace=7, own=2, parent=1, name="SELECT")))
    url = f"http://127.0.0.1:{backend.settings.api_port}"
    shown = CliRunner().invoke(trace, [root.trace_id, "--url", url])
    assert shown.exit_code == 0, shown.output
    assert "└ SELECT" in shown.output
    assert CliRunner().invoke(trace, [root.trace_id, "--url", url, "--json"]).output.count("\n") == 1
    assert "hexadecimal" in CliRunner().invoke(trace, ["../x", "--url", url]).output
    assert "no trace" in CliRunner().invoke(trace, ["ff", "--url", url]).output


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1.00 µs"),
        (9_995, "10.0 µs"),
        (999_600, "1.00 ms"),
        (123_456_789, "123 ms"),
        (59_940_000_000, "59.9 s"),
        (125_000_000_000, "2 min 5 s"),
        (7_322_000_000_000, "2 h 2 min"),
    ],
)
def test_durations_are_shown_with_three_digits(nanoseconds: int, text: str) -> None:
    """In the unit that suits them."""
    assert shown(nanoseconds) == text


def test_durations_are_read() -> None:
    """Numbers with a unit, fractions too; anything else names what is expected."""
    assert (duration("250ms"), duration("1.5h"), duration(" 90 d ")) == (250 * MS, 5_400 * 10**9, 90 * 86_400 * 10**9)
    for wrong in ("", "5", "-1s", "1w2", "h"):
        with pytest.raises(Exception, match="is no duration"):
            duration(wrong)
