"""Search: pages of the traces that a query finds, newest first.

From the newest moment of the window backwards, slice by slice: which traces have a span in the slice that may be found
(an expression over rows), and of these, whole, which the query finds. A trace belongs into the slice with the first of
its found spans. So when a slice is done all that comes is older, and there is no need to look further than the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from kai_tracing_backend.language.evaluation import Found, answered
from kai_tracing_backend.language.nodes import TraceQuery
from kai_tracing_backend.language.trace import Trace
from kai_tracing_backend.model import FoundTrace, SearchPage
from kai_tracing_backend.storage.duckdb.files import DayFile
from kai_tracing_backend.storage.duckdb.reading import DAY, Reading, first_moment
from kai_tracing_backend.storage.duckdb.search_candidates import CandidateReader
from kai_tracing_backend.storage.duckdb.search_filters import QueryFilters
from kai_tracing_backend.storage.duckdb.search_relations import RelationReader
from kai_tracing_backend.storage.duckdb.traces import TraceIds, TraceReader

__all__ = ["search"]

_CURSOR = re.compile(r"([0-9]{1,19})\.([0-9a-f]{32})")
_FIRST_SLICE = 300_000_000_000
_GROWTH = 4
_FEWEST, _MOST = 40, 4_000  # traces that are read together
_MOST_RELATED = 50_000  # whose spans are looked at together, how they stand to one another


@dataclass(frozen=True, order=True)
class _Place:
    """Where a trace stands among what is found: the later the first of its found spans in the window, the earlier."""

    earlier: int  # the negative start
    trace_id: str

    def __str__(self) -> str:
        return f"{-self.earlier}.{self.trace_id}"

    @classmethod
    def parse(cls, cursor: str) -> _Place:
        if (parts := _CURSOR.fullmatch(cursor)) is None:
            raise ValueError("the cursor is none that a search gave")
        return cls(-int(parts[1]), parts[2])


@dataclass(frozen=True)
class _Hit:
    place: _Place
    trace: Trace
    sets: list[Found]


def search(
    reading: Reading, query: TraceQuery, start: int, end: int, limit: int, cursor: str | None, spans_per_set: int
) -> SearchPage:
    """A page of what the query finds; see `SpanStore.search`."""
    after = None if cursor is None else _Place.parse(cursor)
    hits: list[_Hit] = []
    for hit in _Search(reading, query, start, end, limit).hits(after):
        if len(hits) == limit:
            return SearchPage(_answers(query, hits, spans_per_set), str(hits[-1].place) if hits else None)
        hits.append(hit)
    return SearchPage(_answers(query, hits, spans_per_set))


def _answers(query: TraceQuery, hits: list[_Hit], spans_per_set: int) -> list[FoundTrace]:
    return [FoundTrace(hit.trace.summary(), answered(query, hit.trace, hit.sets, spans_per_set)) for hit in hits]


class _Search:
    """One search in the making."""

    def __init__(self, reading: Reading, query: TraceQuery, start: int, end: int, limit: int) -> None:
        self._reading = reading
        self._start, self._end = start, end
        filters = QueryFilters(query)
        self._candidates = CandidateReader(reading, filters)
        self._relations = RelationReader(reading, filters)
        self._traces = TraceReader(reading, filters)
        self._most = _MOST_RELATED if self._relations.needed else _MOST
        self._together = min(max(2 * limit, _FEWEST), _MOST)
        self._seen: set[TraceIds] = set()
        self._waiting: list[_Hit] = []

    def hits(self, after: _Place | None) -> Iterator[_Hit]:
        """What is found, newest first, beginning behind a place."""
        end = self._end if after is None else min(self._end, -after.earlier + 1)
        days = [file for file in self._reading.days() if self._start - DAY < first_moment(file) < end]
        for file in days:
            for done in self._day(file, end):
                yield from self._ripe(done, after)
        yield from self._ripe(self._start, after)

    def _ripe(self, done: int, after: _Place | None) -> list[_Hit]:
        """Those whose slice is done: nothing can come before them any more."""
        ripe = [hit for hit in self._waiting if -hit.place.earlier >= done]
        self._waiting = [hit for hit in self._waiting if -hit.place.earlier < done]
        return sorted((hit for hit in ripe if after is None or hit.place > after), key=lambda hit: hit.place)

    def _day(self, file: DayFile, end: int) -> Iterator[int]:
        """Look through a day; gives down to which moment it is done."""
        if (extent := self._candidates.extent(file)) is None:
            return
        begin, until = max(self._start, extent[0]), min(end, extent[1] + 1)
        around = [other for other in self._around(file) if other is not file]
        size, together = _FIRST_SLICE, self._together
        while until > begin:
            done = max(begin, until - size)
            found = self._candidates.candidates(file, around, done, until, together + 1)
            if len(found) > together:
                done = found[-1][2] + 1  # of all that has a span from here on we know
                found = [row for row in found if row[2] >= done]
                size = max(_FIRST_SLICE, 2 * (until - done))
                together = min(self._most, 2 * together) if found else 2 * together
            else:
                size *= _GROWTH
            self._look_at(file, around, [(high, low) for high, low, _ in found])
            until = done
            yield done

    def _look_at(self, file: DayFile, others: Sequence[DayFile], traces: list[TraceIds]) -> None:
        new = [ids for ids in traces if ids not in self._seen]
        self._seen.update(new)
        if self._relations.needed:
            new = self._relations.fitting(file, others, new)
        for first in range(0, len(new), _MOST):
            self._read(file, new[first : first + _MOST])

    def _read(self, file: DayFile, traces: list[TraceIds]) -> None:
        for trace, sets in self._traces.found(self._around(file), traces):
            starts = [trace.spans[index].start_time for one in sets for index in one.indices]
            if inside := [start for start in starts if self._start <= start < self._end]:
                self._waiting.append(_Hit(_Place(-min(inside), trace.spans[0].trace_id), trace, sets))

    def _around(self, file: DayFile) -> list[DayFile]:
        """The files that may have spans of a day's traces."""
        days = {file.day + timedelta(days=days) for days in (-1, 0, 1)}
        return [other for other in self._reading.days() if other.day in days]
