"""What is recorded of an exception, and which ones are none."""

from __future__ import annotations

import asyncio

import pytest

from kai_tracing_core.failures import describe, is_failure, qualified_name, stack_trace


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


class Cancelled(BaseException):
    """Named as trio's and anyio's."""


@pytest.mark.parametrize(
    ("exception", "expected"),
    [
        (ValueError(), True),
        (StopIteration(), True),
        (KeyboardInterrupt(), True),
        (BaseException(), True),
        (SystemExit(1), True),
        (SystemExit("message"), True),
        (SystemExit(0), False),
        (SystemExit(), False),
        (GeneratorExit(), False),
        (asyncio.CancelledError(), False),
        (Cancelled(), False),
    ],
    ids=repr,
)
def test_what_is_a_failure(exception: BaseException, expected: bool) -> None:
    """Everything but closing, cancelling and leaving on purpose."""
    assert is_failure(exception) is expected


def test_names() -> None:
    """The class with its module, unless it is built in."""
    assert qualified_name(ValueError) == "ValueError"
    assert qualified_name(Silent) == f"{__name__}.Silent"


def test_a_message_that_raises() -> None:
    """An exception whose text raises is described all the same, and its stack is what can be had of it."""
    assert "Silent" in describe(Silent())
    assert isinstance(stack_trace(Silent()), str)


def test_the_stack_has_the_cause() -> None:
    """The causes are part of the stack trace."""

    def fail() -> None:
        try:
            {}["inner"]
        except KeyError as inner:
            raise ValueError("outer") from inner

    with pytest.raises(ValueError, match="outer") as caught:
        fail()
    trace = stack_trace(caught.value)
    assert "KeyError: 'inner'" in trace
    assert "direct cause" in trace
    assert trace.rstrip().endswith("ValueError: outer")


def test_the_stack_is_bounded() -> None:
    """A recursion without end is shown by a hundred frames."""

    def forever(depth: int) -> int:
        return forever(depth - 1) + 1 if depth else 1 // 0

    try:
        forever(300)
    except ZeroDivisionError as error:
        trace = stack_trace(error)
    assert trace.count("forever") < 220


def test_what_is_no_exception_has_no_stack() -> None:
    """Bad input gives an empty stack."""
    assert stack_trace("text") == ""  # what is tested
