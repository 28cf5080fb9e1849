"""Times, sizes and shares as a policy says them: 30d, 200ms, 50GB, 1%."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kai_tracing_backend.units import CALENDAR, SIZES, TIMES, measured

__all__ = ["parse_comparison", "parse_keep", "parse_share", "parse_size", "parse_time"]

_SHARE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*")
_COMPARED = re.compile(r"\s*(>=|<=|>|<)\s*(.+)", re.DOTALL)


def parse_keep(text: object) -> int:
    """How long something is kept: hours, days, weeks, months or years, in nanoseconds. Raises ValueError."""
    found = _of(text, CALENDAR, "such as 12h, 30d, 2w, 13mo or 1y")
    if found > 100 * CALENDAR["y"]:
        raise ValueError("at most 100y")
    return found


def parse_time(text: object) -> int:
    """How long a span took, in nanoseconds. Raises ValueError."""
    return _of(text, TIMES, "such as 200ms, 1.5s or 2m")


def parse_size(text: object) -> int:
    """Bytes. Raises ValueError."""
    return _of(text, SIZES, "such as 500MB, 50GB or 1TiB")


def parse_share(text: object) -> float:
    """A share between 0 and 1. Raises ValueError."""
    found = _SHARE.fullmatch(text) if isinstance(text, str) else None
    if found is None or not 0 < float(found[1]) <= 50:
        raise ValueError("a share above 0% and up to 50% is expected, such as 1%")
    return float(found[1]) / 100


def parse_comparison(text: str) -> tuple[str, str] | None:
    """The operator and the rest of a text such as ">= 500"; None where it has no operator."""
    found = _COMPARED.fullmatch(text)
    return (found[1], found[2].strip()) if found else None


def _of(text: object, units: Mapping[str, int], such_as: str) -> int:
    found = measured("".join(text.split()), units) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"a number with its unit is expected, {such_as}, not {text!r}")
    return found
