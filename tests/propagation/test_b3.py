"""B3 in one header and in several."""

from __future__ import annotations

import pytest

from kai_tracing_core import TraceContext, TracingService
from kai_tracing_core.propagation.b3 import B3MultiPropagator, B3Propagator
from kai_tracing_core.trace_context import DEBUG, DECISION_ONLY, DEFERRED, RANDOM, SAMPLED

TRACE, SPAN, PARENT = "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1", "05e3ac9a4f6e3b90"
IDS = f"{TRACE}-{SPAN}"
MULTI = {"X-B3-TraceId": TRACE, "X-B3-SpanId": SPAN}


def remote(flags: int, trace_id: str = TRACE, span_id: str = SPAN) -> TraceContext:
    """What is expected of headers with ids."""
    return TraceContext(trace_id, span_id, flags, is_remote=True)


def decision(flags: int) -> TraceContext:
    """What is expected of a decision without ids."""
    return TraceContext(flags=flags | DECISION_ONLY, is_remote=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (IDS, remote(DEFERRED)),
        (f"{IDS}-1", remote(SAMPLED)),
        (f"{IDS}-0", remote(0)),
        (f"{IDS}-d", remote(SAMPLED | DEBUG)),
        (f"{IDS}-1-{PARENT}", remote(SAMPLED)),
        (f" {IDS}-1\t", remote(SAMPLED)),
        (f"{TRACE[16:]}-{SPAN}-1", remote(SAMPLED, TRACE[16:].rjust(32, "0"))),
        ("0", decision(0)),
        ("1", decision(SAMPLED)),
        ("d", decision(SAMPLED | DEBUG)),
        ("", None),
        ("2", None),
        (f"{IDS}-2", None),
        (f"{IDS}-", None),
        (f"{IDS}-1-", None),
        (f"{IDS}-1-{PARENT[1:]}", None),
        (TRACE, None),
        (f"{TRACE[1:]}-{SPAN}-1", None),
        (f"{TRACE}-{SPAN[1:]}-1", None),
        (f"{'0' * 32}-{SPAN}-1", None),
        (f"{TRACE}-{'0' * 16}-1", None),
        (f"{TRACE.replace('8', 'g')}-{SPAN}-1", None),
    ],
)
def test_extract_single(value: str, expected: TraceContext | None) -> None:
    """One header: ids with a decision or without one, or a decision alone; anything else is absent."""
    for propagator in (B3Propagator(), B3MultiPropagator()):
        assert propagator.extract_from({"b3": value}) == expected
        assert propagator.extract_from([(b"B3", value.encode())]) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (MULTI, remote(DEFERRED)),
        ({**MULTI, "X-B3-Sampled": "1"}, remote(SAMPLED)),
        ({**MULTI, "X-B3-Sampled": "0"}, remote(0)),
        ({**MULTI, "X-B3-Sampled": "true"}, remote(SAMPLED)),
        ({**MULTI, "X-B3-Sampled": "False"}, remote(0)),
        ({**MULTI, "X-B3-Sampled": ""}, remote(DEFERRED)),
        ({**MULTI, "X-B3-Sampled": "maybe"}, remote(DEFERRED)),
        ({**MULTI, "X-B3-Flags": "1"}, remote(SAMPLED | DEBUG)),
        ({**MULTI, "X-B3-Flags": "1", "X-B3-Sampled": "0"}, remote(SAMPLED | DEBUG)),
        ({**MULTI, "X-B3-Flags": "0", "X-B3-Sampled": "1"}, remote(SAMPLED)),
        ({**MULTI, "X-B3-ParentSpanId": "-", "X-B3-Sampled": "1"}, remote(SAMPLED)),
        ({"X-B3-Sampled": "0"}, decision(0)),
        ({"X-B3-Sampled": "1"}, decision(SAMPLED)),
        ({"X-B3-Flags": "1"}, decision(SAMPLED | DEBUG)),
        ({"X-B3-TraceId": TRACE, "X-B3-Sampled": "0"}, decision(0)),
        ({"X-B3-TraceId": TRACE}, None),
        ({"X-B3-TraceId": TRACE[:20], "X-B3-SpanId": SPAN}, None),
        ({**MULTI, "X-B3-SpanId": "0" * 16}, None),
        ({**MULTI, "b3": f"{TRACE}-{PARENT}-0"}, remote(0, span_id=PARENT)),
        ({**MULTI, "b3": "0"}, decision(0)),
        ({**MULTI, "b3": "rubbish"}, remote(DEFERRED)),
        ({**MULTI, "X-B3-SpanId": [SPAN, PARENT]}, remote(DEFERRED)),
    ],
)
def test_extract_multiple(headers: dict[str, str], expected: TraceContext | None) -> None:
    """Several headers: debug wins over the decision, the single header over all, the first of a repeated one."""
    for propagator in (B3Propagator(), B3MultiPropagator()):
        assert propagator.extract_from(headers) == expected


@pytest.mark.parametrize(
    ("flags", "single", "multiple"),
    [
        (SAMPLED, f"{IDS}-1", {"x-b3-sampled": "1"}),
        (SAMPLED | RANDOM, f"{IDS}-1", {"x-b3-sampled": "1"}),
        (0, f"{IDS}-0", {"x-b3-sampled": "0"}),
        (SAMPLED | DEBUG, f"{IDS}-d", {"x-b3-flags": "1"}),
        (DEFERRED, IDS, {}),
    ],
)
def test_inject(flags: int, single: str, multiple: dict[str, str]) -> None:
    """What goes out has no parent id, and for a debug trace no further decision."""
    carrier: dict[str, str] = {}
    B3Propagator().inject(remote(flags), carrier)
    assert carrier == {"b3": single}
    carrier = {}
    B3MultiPropagator().inject(remote(flags), carrier)
    assert carrier == {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, **multiple}


@pytest.mark.parametrize(
    ("flags", "single", "multiple"),
    [
        (0, "0", {"x-b3-sampled": "0"}),
        (SAMPLED, "1", {"x-b3-sampled": "1"}),
        (SAMPLED | DEBUG, "d", {"x-b3-flags": "1"}),
    ],
)
def test_inject_decision_alone(flags: int, single: str, multiple: dict[str, str]) -> None:
    """A decision without ids is passed on as one; a context without anything writes nothing."""
    carrier: dict[str, str] = {}
    B3Propagator().inject(decision(flags), carrier)
    assert carrier == {"b3": single}
    carrier = {}
    B3MultiPropagator().inject(decision(flags), carrier)
    assert carrier == multiple
    carrier = {}
    for propagator in (B3Propagator(), B3MultiPropagator()):
        propagator.inject(TraceContext(), carrier)
    assert carrier == {}


@pytest.mark.parametrize(("value", "recorded"), [("0", False), ("1", True), ("d", True)])
def test_decision_alone_holds_for_the_trace_that_starts(tracing: TracingService, value: str, recorded: bool) -> None:
    """`b3: 0` starts a new trace that is not recorded, `1` and `d` one that is."""
    parent = tracing.extract_context({"b3": value})
    with tracing.span("serve", parent=parent) as span:
        assert span.is_recording() is recorded
        assert span.trace_context.is_valid
        assert span.parent_id is None
        headers: dict[str, str] = {}
        tracing.inject_context(span.trace_context, headers)
    assert headers["b3"] == f"{span.trace_id}-{span.span_id}-{value}"


def test_ids_without_a_decision_are_decided_here(tracing: TracingService) -> None:
    """Deferred: the trace goes on, the sampler is asked, and its decision goes out."""
    with tracing.span("serve", parent=tracing.extract_context({"b3": IDS})) as span:
        headers: dict[str, str] = {}
        tracing.inject_context(span.trace_context, headers)
    assert span.trace_id == TRACE
    assert span.parent_id == SPAN
    assert headers["b3"] == f"{TRACE}-{span.span_id}-1"
