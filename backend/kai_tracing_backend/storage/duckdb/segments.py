"""Segments: runs of spans as they were written, which the indexes of a day's file point to.

The column `segment` of `spans` grows from row to row, so that `segment BETWEEN …` reads those rows and no others,
whenever the spans began.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["SEGMENT", "ranges"]

SEGMENT = 8_192
"""Spans of a segment: four of DuckDB's vectors."""


def ranges(segments: Iterable[int]) -> list[tuple[int, int]]:
    """Segments as ranges, first and last included: 1, 2, 5 are (1, 2) and (5, 5)."""
    found: list[tuple[int, int]] = []
    for segment in sorted(set(segments)):
        if found and segment == found[-1][1] + 1:
            found[-1] = (found[-1][0], segment)
        else:
            found.append((segment, segment))
    return found
