"""Search: the traces that a query finds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kai_tracing_backend.language.evaluation import Found, answered, evaluate
from kai_tracing_backend.language.nodes import TraceQuery
from kai_tracing_backend.language.trace import Trace
from kai_tracing_backend.model import FoundTrace, SearchPage
from kai_tracing_backend.storage.duckdb.reading import DAY, Reading, fetch, first_moment
from kai_tracing_backend.storage.duckdb.statements import statement
from kai_tracing_backend.storage.duckdb.traces import load_traces

__all__ = ["search"]

_CURSOR = re.compile(r"([0-9]{1,19})\.([0-9a-f]{32})")


@dataclass(frozen=True, order=True)
class _Place:
    """Where a trace stands among what was found: the later its first found span in the window, the earlier."""

    earlier: int  # the negative start
    trace_id: str

    def __str__(self) -> str:
        return f"{-self.earlier}.{self.trace_id}"


def search(
    reading: Reading, query: TraceQuery, start: int, end: int, limit: int, cursor: str | None, spans_per_set: int
) -> SearchPage:
    """A page of what the query finds; see `SpanStore.search`."""
    after = None if cursor is None else _place(cursor)
    found: list[tuple[_Place, Trace, list[Found]]] = []
    for spans in load_traces(reading, _traces_of(reading, start, end)).values():
        trace = Trace(spans)
        sets = evaluate(query, trace)
        place = _place_of(trace, sets, start, end)
        if place is not None and (after is None or place > after):
            found.append((place, trace, sets))
    found.sort(key=lambda one: one[0])
    traces = [
        FoundTrace(trace.summary(), answered(query, trace, sets, spans_per_set)) for _, trace, sets in found[:limit]
    ]
    return SearchPage(traces, str(found[limit - 1][0]) if len(found) > limit else None)


def _place(cursor: str) -> _Place:
    if (parts := _CURSOR.fullmatch(cursor)) is None:
        raise ValueError("the cursor is none that a search gave")
    return _Place(-int(parts[1]), parts[2])


def _place_of(trace: Trace, sets: list[Found], start: int, end: int) -> _Place | None:
    starts = [trace.spans[index].start_time for one in sets for index in one.indices]
    inside = [one for one in starts if start <= one < end]
    return _Place(-min(inside), trace.spans[0].trace_id) if inside else None


def _traces_of(reading: Reading, start: int, end: int) -> list[tuple[int, int]]:
    days = [file for file in reading.days() if start - DAY < first_moment(file) < end]
    window = {"start": start, "end": end}
    found = reading.each(days, lambda cursor: fetch(cursor, statement("traces_in_window"), window))
    return list(dict.fromkeys(ids for rows in found for ids in rows))
