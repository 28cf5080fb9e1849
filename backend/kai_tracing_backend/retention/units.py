"""Times, sizes and shares as a policy says them: 30d, 200ms, 50GB, 1%."""

from __future__ import annotations

import re

__all__ = ["parse_comparison", "parse_keep", "parse_share", "parse_size", "parse_time"]

_DAY = 86_400_000_000_000
_KEEP = {"h": _DAY // 24, "d": _DAY, "w": 7 * _DAY, "mo": _DAY * 487 // 16, "y": _DAY * 1461 // 4}
_TIME = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": _DAY // 24}
_SIZE = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE.update({"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40})
_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-zµ%]*)\s*")
_COMPARED = re.compile(r"\s*(>=|<=|>|<)\s*(.+)", re.DOTALL)


def parse_keep(text: object) -> int:
    """How long something is kept: hours, days, weeks, months or years, in nanoseconds. Raises ValueError."""
    found = _of(text, _KEEP, "such as 12h, 30d, 2w, 13mo or 1y")
    if found > 100 * _KEEP["y"]:
        raise ValueError("at most 100y")
    return found


def parse_time(text: object) -> int:
    """How long a span took, in nanoseconds. Raises ValueError."""
    return _of(text, _TIME, "such as 200ms, 1.5s or 2m")


def parse_size(text: object) -> int:
    """Bytes. Raises ValueError."""
    return _of(text, _SIZE, "such as 500MB, 50GB or 1TiB")


def parse_share(text: object) -> float:
    """A share between 0 and 1. Raises ValueError."""
    found = _NUMBER.fullmatch(text) if isinstance(text, str) else None
    if found is None or found[2] != "%" or not 0 < float(found[1]) <= 50:
        raise ValueError("a share above 0% and up to 50% is expected, such as 1%")
    return float(found[1]) / 100


def parse_comparison(text: str) -> tuple[str, str] | None:
    """The operator and the rest of a text such as ">= 500"; None where it has no operator."""
    found = _COMPARED.fullmatch(text)
    return (found[1], found[2].strip()) if found else None


def _of(text: object, units: dict[str, int], such_as: str) -> int:
    found = _NUMBER.fullmatch(text) if isinstance(text, str) else None
    if found is None or found[2] not in units:
        raise ValueError(f"a number with its unit is expected, {such_as}, not {text!r}")
    return int(float(found[1]) * units[found[2]])
