"""What samplers and policies say to numbers that mean nothing, and do with values that cannot be looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kai_tracing_core.sampling.ratio import TraceIdRatio
from kai_tracing_core.sampling.remote import OperationProbabilities, Remote
from kai_tracing_core.sampling.rules import holds, matcher
from kai_tracing_core.sampling.tail_policies import Probability, Rate, SlowestShare


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TraceIdRatio(1.5), "between 0 and 1, not 1.5"),
        (lambda: Probability(-0.1), "between 0 and 1, not -0.1"),
        (lambda: SlowestShare(100), "between 0 and 100, not 100"),
        (lambda: Rate(0), "a rate must be positive"),
        (lambda: Remote("shop", interval=0), "must be positive"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(make: Callable[[], object], said: str) -> None:
    """At once, with the range that is allowed."""
    with pytest.raises(ValueError, match=said):
        make()


def test_a_value_that_cannot_be_tested_does_not_match() -> None:
    """A value whose text raises is no match, and no exception in the application."""

    class Unprintable:
        def __str__(self) -> str:
            raise ValueError

    value: Any = Unprintable()
    assert not holds(matcher("a*"), value)


def test_a_strategys_description_names_its_size() -> None:
    """Not its operations, of which there may be thousands."""
    sampler = OperationProbabilities({"a": 0.5, "b": 1.0}, default=0.25)
    assert sampler.description == "OperationProbabilities{2 operations, else 0.25}"
