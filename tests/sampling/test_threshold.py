"""`th` and `rv`, to the letter of the probability sampling specification."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kai_tracing_core.sampling.consistent_probability import ConsistentProbability
from kai_tracing_core.sampling.threshold import (
    NEVER,
    adjusted_count,
    encode,
    known_count,
    probability,
    read,
    threshold,
    with_threshold,
)
from kai_tracing_core.trace_context import RANDOM, SAMPLED, TraceContext
from kai_tracing_core.tracestate import parse_tracestate

from .asking import ask, keeps


@pytest.mark.parametrize(
    ("chance", "th"),
    [
        (1.0, "0"),
        (0.5, "8"),
        (0.25, "c"),
        (0.1, "e666"),
        (0.01, "fd70a"),
        (0.001, "ffbe77"),
        (1 / 3, "aaab"),
        (2 / 3, "5555"),
        (0.99, "028f6"),
        (2**-56, "ffffffffffffff"),
    ],
)
def test_probabilities_as_the_specification_writes_them(chance: float, th: str) -> None:
    """Four significant digits, more near 0 and 1, and no trailing zeros."""
    assert encode(threshold(chance)) == th


@given(st.floats(min_value=1e-12, max_value=1.0))
def test_a_threshold_is_near_its_probability_and_survives_being_written(chance: float) -> None:
    """Rounding costs less than 0.01 %, and what is read is what was written."""
    rejection = threshold(chance)
    assert probability(rejection) == pytest.approx(chance, rel=2e-4)
    assert adjusted_count(rejection) * probability(rejection) == pytest.approx(1.0)
    assert read(f"ot=th:{encode(rejection)}").th == rejection


def test_a_probability_of_nothing_keeps_nothing() -> None:
    """Probability 0 has a threshold that no randomness reaches; others than 0 to 1 are refused."""
    assert threshold(0.0) == NEVER
    assert not keeps(ask(ConsistentProbability(0.0), (1 << 128) - 1))
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            threshold(wrong)


@given(st.text(alphabet="ot=th:rv;,0123456789abcdef XYZ\t", max_size=60), st.integers(0, NEVER - 1))
def test_any_trace_state_is_read_and_written_without_an_exception(state: str, rejection: int) -> None:
    """Whatever the list says: reading and changing it raises nothing, and a valid list stays one."""
    read(state)
    changed = with_threshold(state, rejection)
    assert read(changed).th == rejection
    assert read(with_threshold(changed, None)).th is None
    if parse_tracestate([state]) == state:
        assert parse_tracestate([changed]) == changed


def test_other_fields_and_members_are_kept() -> None:
    """`rv`, unknown fields of `ot` and the members of others stay; `ot` moves to the left, as what was changed."""
    state = "acme=1,ot=rv:0123456789abcd;p:9;th:8,zeta=2"
    assert with_threshold(state, threshold(0.25)) == "ot=th:c;rv:0123456789abcd;p:9,acme=1,zeta=2"
    assert with_threshold("acme=1,ot=th:8", None) == "acme=1"
    assert with_threshold("acme=1", None) == "acme=1"


@pytest.mark.parametrize("field", ["th:", "th:G", "th:123456789abcdef", "th:E6", "rv:123", "rv:0123456789abcdef"])
def test_malformed_fields_count_as_absent(field: str) -> None:
    """A `th` of other than 1 to 14 lowercase digits, and an `rv` of other than 14, are not read."""
    assert read(f"ot={field}") == (None, None)


def test_randomness_is_rv_or_the_last_56_bits() -> None:
    """R is `rv` where there is one, and otherwise the rightmost 7 bytes of the trace id."""
    half = ConsistentProbability(0.5)
    low, high = 0xFF00000000000000_FF7FFFFFFFFFFFFF, 0x0080000000000000
    assert not keeps(ask(half, low))
    assert keeps(ask(half, high))
    kept = TraceContext(low, 1, SAMPLED | RANDOM, "ot=rv:80000000000000", is_remote=True)
    dropped = TraceContext(high, 1, SAMPLED | RANDOM, "ot=rv:7fffffffffffff", is_remote=True)
    assert keeps(ask(half, low, parent=kept))
    assert not keeps(ask(half, high, parent=dropped))


def test_downstream_only_raises_the_threshold() -> None:
    """A sampled parent's higher threshold stays; a lower one is raised; the count is the resulting one's."""
    everything = (1 << 128) - 1
    for state, own, expected in (
        ("ot=th:c", 0.5, "ot=th:c"),
        ("ot=th:8", 0.25, "ot=th:c"),
        ("ot=th:0", 1.0, "ot=th:0"),
    ):
        parent = TraceContext(everything, 1, SAMPLED, state, is_remote=True)
        result = ask(ConsistentProbability(own), everything, parent=parent)
        assert result.trace_state == expected
        assert result.adjusted_count == known_count(expected, everything)
    left_out = TraceContext(everything, 1, 0, "ot=th:c", is_remote=True)
    assert not keeps(ask(ConsistentProbability(1.0), everything, parent=left_out))


def test_a_contradiction_erases_the_threshold() -> None:
    """A parent that is sampled although its randomness is below its `th` has no known probability: `th` goes."""
    parent = TraceContext(1, 1, SAMPLED, "ot=th:8;rv:40000000000000,a=b", is_remote=True)
    result = ask(ConsistentProbability(0.9), 1, parent=parent)
    assert keeps(result)
    assert result.trace_state == "ot=rv:40000000000000,a=b"
    assert result.adjusted_count is None


def test_what_one_service_keeps_contains_what_a_stingier_one_keeps() -> None:
    """Consistency: a trace kept at 1 % is kept at 10 %, and one kept at 10 % at 50 %."""
    samplers = [ConsistentProbability(chance) for chance in (0.01, 0.1, 0.5)]
    for trace_id in range(1, 1 << 64, (1 << 64) // 997):
        decisions = [keeps(ask(sampler, trace_id)) for sampler in samplers]
        assert decisions == sorted(decisions)


def test_what_does_not_fit_gives_way() -> None:
    """The entry `ot` has at most 256 characters: fields of others go, `th` stays."""
    assert with_threshold("ot=rv:00000000000001;x:" + "y" * 235, 0) == "ot=th:0;rv:00000000000001"
