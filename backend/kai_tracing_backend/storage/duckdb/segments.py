"""Segments: which spans of a day's file are side by side, which is what its indexes point to.

Spans come into the table `spans_recent`, in runs. When a run is whole it is sorted by traces, cut into segments,
indexed, and moved into `spans_settled`; the view `spans` has both. The column `segment` grows from row to row, so that
`segment BETWEEN …` reads those rows and no others, whenever the spans began. A span of a run that is not settled yet
has the number of the run's first segment, and may get any of the run's later: look for it in all of them, or within one
transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

__all__ = ["RUN", "SEGMENT", "SEGMENTS", "few_ranges", "ranges", "within"]

SEGMENT = 8_192
"""Spans of a segment: four of DuckDB's vectors."""

SEGMENTS = 15
"""Segments of a run."""

RUN = SEGMENTS * SEGMENT
"""Spans of a run: one of DuckDB's row groups, which is written to the disk once and never again."""

_MOST_RANGES = 40


def ranges(segments: Iterable[int]) -> list[tuple[int, int]]:
    """Segments as ranges, first and last included: 1, 2, 5 are (1, 2) and (5, 5)."""
    found: list[tuple[int, int]] = []
    for segment in sorted(set(segments)):
        if found and segment == found[-1][1] + 1:
            found[-1] = (found[-1][0], segment)
        else:
            found.append((segment, segment))
    return found


def few_ranges(segments: Iterable[int]) -> list[tuple[int, int]]:
    """As few ranges as a statement may name, with all of the segments: those nearest to one another become one."""
    every = ranges(segments)
    gaps = sorted(right[0] - left[1] for left, right in pairwise(every))
    bridged = gaps[-_MOST_RANGES] if len(gaps) >= _MOST_RANGES else 0
    few: list[tuple[int, int]] = []
    for first, last in every:
        if few and first - few[-1][1] <= bridged:
            few[-1] = (few[-1][0], last)
        else:
            few.append((first, last))
    return few


def within(ranges: Sequence[tuple[int, int]]) -> tuple[str, dict[str, int]]:
    """True of the spans in these ranges, and the parameters of this."""
    window: dict[str, int] = {}
    for index, (first, last) in enumerate(ranges):
        window |= {f"first{index}": first, f"last{index}": last}
    return " OR ".join(f"segment BETWEEN $first{index} AND $last{index}" for index in range(len(ranges))), window
