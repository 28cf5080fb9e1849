"""What goes wrong many times a second is logged when it begins, now and then, and when it is over."""

from __future__ import annotations

import logging

import pytest
from kai_tracing_backend.troubles import Trouble


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of `trouble`."""
    return Clock()


@pytest.fixture
def trouble(clock: Clock) -> Trouble:
    """One that is logged every ten seconds at most."""
    return Trouble(logging.getLogger("test"), interval=10.0, clock=clock)


def test_a_trouble_has_a_beginning_counts_and_an_end(
    trouble: Trouble, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand failures are a line, another one with their number when the time is over, and one when it is over."""
    trouble.over("well")
    for moment in range(1_001):
        clock.now = moment / 100
        trouble.happened("no room")
    clock.now = 11.0
    trouble.happened("no room")
    trouble.over("well")
    trouble.over("well")
    assert caplog.messages == [
        "no room",
        "no room (and 999 times more since this was logged last)",
        "well; meanwhile it failed 1 times more",
    ]
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.ERROR, logging.WARNING]


def test_what_comes_and_goes_does_not_fill_the_log(
    trouble: Trouble, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """On and off a hundred times in ten seconds: one line of each, and the next ones when the time is over."""
    for moment in range(100):
        clock.now = moment / 11
        trouble.happened("no room", level=logging.WARNING)
        trouble.over("well")
    assert caplog.messages == ["no room", "well"]
    clock.now = 10.0
    trouble.happened("no room")
    assert caplog.messages[2:] == ["no room (and 99 times more since this was logged last)"]


def test_a_fault_has_its_traceback(trouble: Trouble, caplog: pytest.LogCaptureFixture) -> None:
    """What nobody expected is logged with where it happened."""
    try:
        {}["surprise"]
    except KeyError:
        trouble.happened("it failed", traceback=True)
    assert "KeyError: 'surprise'" in caplog.text
