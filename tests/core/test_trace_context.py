"""The part of a span that is propagated."""

from __future__ import annotations

import copy
import pickle
from types import MappingProxyType

import pytest

from kai_tracing_core import TraceContext
from kai_tracing_core.trace_context import DEBUG, DECISION_ONLY, DEFERRED, RANDOM, SAMPLED

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_ids_are_text_outside_and_numbers_inside() -> None:
    """The constructor takes either; what is read is hexadecimal of full length."""
    assert TraceContext(TRACE, SPAN) == TraceContext(int(TRACE, 16), int(SPAN, 16))
    assert (TraceContext(1, 2).trace_id, TraceContext(1, 2).span_id) == (f"{1:032x}", f"{2:016x}")


@pytest.mark.parametrize(
    ("context", "valid"),
    [(TraceContext(), False), (TraceContext(1, 0), False), (TraceContext(0, 1), False), (TraceContext(1, 1), True)],
)
def test_validity(context: TraceContext, valid: bool) -> None:
    """Both ids must be there."""
    assert context.is_valid is valid


@pytest.mark.parametrize(
    ("flags", "sampled", "debug", "decided"),
    [
        (0, False, False, True),
        (SAMPLED, True, False, True),
        (SAMPLED | DEBUG, True, True, True),
        (DEFERRED, False, False, False),
        (DEFERRED | DECISION_ONLY, False, False, True),
    ],
)
def test_flags(flags: int, sampled: bool, debug: bool, decided: bool) -> None:
    """What the flags mean; only sampled and random go on the wire."""
    context = TraceContext(TRACE, SPAN, flags | RANDOM)
    assert (context.is_sampled, context.is_debug, context.has_decision) == (sampled, debug, decided)
    assert context.trace_flags == (SAMPLED if sampled else 0) | RANDOM


def test_without_ids_there_is_no_decision() -> None:
    """Unless only the decision came."""
    assert not TraceContext().has_decision
    assert TraceContext(flags=DECISION_ONLY).has_decision


def test_equality() -> None:
    """Two contexts are equal when all of them is, baggage and remoteness included, and equal ones hash alike."""
    one = TraceContext(TRACE, SPAN, 1, "a=1", baggage={"k": "v"})
    same = TraceContext(TRACE, SPAN, 1, "a=1", baggage=MappingProxyType({"k": "v"}))
    assert one == same
    assert hash(one) == hash(same)
    assert one != TraceContext(TRACE, SPAN, 1, "a=1")
    assert one != TraceContext(TRACE, SPAN, 1, "a=1", is_remote=True, baggage={"k": "v"})
    assert one != "context"
    assert one.trace_context is one


def test_repr() -> None:
    """It shows what a log line needs."""
    context = TraceContext(TRACE, SPAN, 1, "a=1", is_remote=True)
    assert repr(context) == f"TraceContext({TRACE}-{SPAN}-01, trace_state='a=1', remote)"


@pytest.mark.parametrize("baggage", [None, MappingProxyType({"k": "v"})])
def test_it_may_be_sent_to_another_process(baggage: MappingProxyType[str, str] | None) -> None:
    """A context can be pickled and copied, with the baggage that is current."""
    context = TraceContext(TRACE, SPAN, 1, "a=1", is_remote=True, baggage=baggage)
    assert pickle.loads(pickle.dumps(context)) == context
    assert copy.deepcopy(context) == context
