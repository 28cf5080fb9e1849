"""Times, durations and numbers as requests say them, to nanoseconds and integers; every fault names its parameter."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

from kai_tracing_backend.units import DAY, TIMES, WINDOWS, measured

__all__ = ["DAY", "ENDLESS", "ParameterError", "duration", "go_duration", "number", "timestamp", "window"]

ENDLESS = 1 << 62
"""A time that is after all others, in the year 2116."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_RELATIVE = re.compile(r"now(?:([+-])(.+))?")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[-+ ]\d\d:\d\d)")


class ParameterError(ValueError):
    """A parameter of a request that says nothing; `parameter` is its name."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(f"{parameter}: {message}")
        self.parameter = parameter


def timestamp(name: str, text: str) -> int:
    """A moment in nanoseconds since the epoch: such a number, RFC 3339, or relative to now (`now`, `now-90m`)."""
    if text.isascii() and text.isdigit() and len(text) <= 19:
        return _within(name, int(text))
    if found := _RELATIVE.fullmatch(text):
        offset = duration(name, found[2]) if found[1] else 0
        return _within(name, time.time_ns() + (offset if found[1] == "+" else -offset))
    return rfc3339(
        name, text, "a time is nanoseconds since the epoch, RFC 3339 (2026-01-31T12:00:00Z) or relative (now-1h)"
    )


def rfc3339(
    name: str, text: str, otherwise: str = "a time in RFC 3339 such as 2026-01-31T12:00:00Z is expected"
) -> int:
    """A moment of RFC 3339 to the nanosecond, in nanoseconds since the epoch.

    A `+` that was not escaped in an address arrives as a space, and is taken for what it was.
    """
    found = _RFC3339.fullmatch(text)
    try:
        if found is None:
            raise ValueError  # noqa: TRY301 - said below, as for a 31st of February
        zone = "+00:00" if found[4] in "Zz" else found[4].replace(" ", "+")
        moment = datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}")
    except ValueError as error:
        raise ParameterError(name, f"{text[:100]!r} is no time; {otherwise}") from error
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    return _within(name, seconds * 1_000_000_000 + int((found[3] or "0").ljust(9, "0")))


def _within(name: str, moment: int) -> int:
    if not 0 <= moment <= ENDLESS:
        raise ParameterError(name, "is not between 1970 and 2116")
    return moment


def duration(name: str, text: str) -> int:
    """Nanoseconds of a duration such as `1.5s`, `250ms`, `1h30m` or `7d`."""
    return _duration(name, text, WINDOWS, "1.5s, 250ms, 1h30m or 7d")


def go_duration(name: str, text: str) -> int:
    """Nanoseconds of a duration as Go writes it, where the largest unit is an hour; `0` needs none."""
    return 0 if text == "0" else _duration(name, text, TIMES, "1.5s, 250ms or 1h30m")


def _duration(name: str, text: str, units: Mapping[str, int], such_as: str) -> int:
    if (found := measured(text, units)) is None:
        raise ParameterError(name, f"{text[:100]!r} is no duration such as {such_as}")
    if found > ENDLESS:
        raise ParameterError(name, f"{text[:100]!r} is too long")
    return found


def number(name: str, text: str, lowest: int, highest: int) -> int:
    """An integer within these bounds."""
    sign, digits = text[:1] in ("-", "+"), text.lstrip("+-") if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 19 or (sign and text[1:] != digits):
        raise ParameterError(name, f"{text[:100]!r} is no integer")
    value = int(text)
    if not lowest <= value <= highest:
        raise ParameterError(name, f"{value} is not between {lowest} and {highest}")
    return value


def window(start: str | None, end: str | None, lookback: int) -> tuple[int, int]:
    """The window that `start` and `end` say: until now, and `lookback` nanoseconds long, where they do not."""
    last = timestamp("end", end) if end else time.time_ns() + 1
    first = timestamp("start", start) if start else max(0, last - lookback)
    if first >= last:
        raise ParameterError("start", "must be before end")
    return first, last
