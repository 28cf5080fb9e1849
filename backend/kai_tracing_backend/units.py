"""Numbers with units as people write them: 250ms, 1h30m, 7d, 13mo, 50GB."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

__all__ = ["CALENDAR", "DAY", "SIZES", "TIMES", "WINDOWS", "measured"]

DAY = 86_400_000_000_000

TIMES = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,  # and the letter
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
"""What something takes, in nanoseconds."""

WINDOWS = {**TIMES, "d": DAY, "w": 7 * DAY}
"""How far back somebody looks, in nanoseconds."""

CALENDAR = {"h": DAY // 24, "d": DAY, "w": 7 * DAY, "mo": DAY * 487 // 16, "y": DAY * 1461 // 4}
"""How long something is kept, in nanoseconds; months and years of the mean length."""

SIZES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SIZES.update({"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40})

_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([A-Za-zµμ]+)")


def measured(text: str, units: Mapping[str, int]) -> int | None:
    """What numbers with these units come to, several one after the other; None where the text is no such thing."""
    parts = _PART.findall(text)
    if (
        not parts
        or "".join(number + unit for number, unit in parts) != text
        or not {u for _, u in parts} <= units.keys()
    ):
        return None
    return int(sum(Decimal(number) * units[unit] for number, unit in parts))
