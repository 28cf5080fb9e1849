"""Durations as people write and read them: `250ms`, `1.5h`, `90d`. In Python they are nanoseconds."""

from __future__ import annotations

import re

import click

__all__ = ["duration", "shown"]

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3_600 * 1_000_000_000,
    "d": 86_400 * 1_000_000_000,
}
_TEXT = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})")


def duration(text: str) -> int:
    """The type of an option or argument that is a duration: the nanoseconds that the text means."""
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is no duration: a number and one of {', '.join(_UNITS)}, such as 15m")
    return round(float(match[1]) * _UNITS[match[2]])


def shown(nanoseconds: float) -> str:
    """A duration with three digits and the unit that suits it: `1.23 ms`, `45.6 s`, `2 min 5 s`."""
    if nanoseconds >= 60e9:
        minutes, seconds = divmod(round(nanoseconds / 1e9), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size * 0.9995:
            number = nanoseconds / size
            return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f} {unit}"
    return f"{nanoseconds:.0f} ns"
