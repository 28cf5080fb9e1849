"""Durations as people write and read them: `250ms`, `1.5h`, `90d`. In Python they are nanoseconds."""

from __future__ import annotations

import click

from kai_tracing_backend.units import WINDOWS, measured

__all__ = ["duration", "shown"]


def duration(text: str) -> int:
    """The type of an option or argument that is a duration: the nanoseconds that the text means."""
    if (found := measured("".join(text.split()), WINDOWS)) is None:
        raise click.BadParameter(f"{text!r} is no duration: a number and one of {', '.join(WINDOWS)}, such as 15m")
    return found


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
