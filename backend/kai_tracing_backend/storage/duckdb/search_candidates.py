"""Which traces of a slice of a day a search has to look at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import duckdb

from kai_tracing_backend.storage.duckdb.files import DayFile
from kai_tracing_backend.storage.duckdb.reading import Reading, fetch
from kai_tracing_backend.storage.duckdb.search_filters import QueryFilters
from kai_tracing_backend.storage.duckdb.statements import statement

__all__ = ["CandidateReader"]


class CandidateReader:
    """Reads candidates for one query."""

    def __init__(self, reading: Reading, filters: QueryFilters) -> None:
        self._reading = reading
        self._filters = filters

    def extent(self, file: DayFile) -> tuple[int, int] | None:
        """The starts of the first and the last span of a day; None where there are none."""
        for ((first, last),) in self._reading.each([file], lambda cursor: fetch(cursor, statement("search_extent"))):
            return None if first is None else (first, last)
        return None

    def candidates(
        self, file: DayFile, others: Sequence[DayFile], begin: int, until: int, most: int
    ) -> list[tuple[int, int, int]]:
        """The traces with a span in the slice that the query may find, with the latest such span's start.

        Those with the latest come first, and `most` at most. `others` are the files that may have spans of them, too.
        """

        def read(cursor: duckdb.DuckDBPyConnection) -> list[tuple[int, int, int]]:
            filters = self._filters.of(file, cursor)
            if "FALSE" in (filters.candidates, filters.demand):
                return []
            slices = {"begin": begin, "until": until, "most": most}
            if filters.demand == "TRUE":
                text = statement("search_candidates", condition=filters.candidates)
                return fetch(cursor, text, filters.named_in(text, slices))
            reading = self._reading.files.reading
            with ExitStack() as held:
                there = [other for other in others if held.enter_context(reading(other)) is not None]
                elsewhere = "".join(statement("search_elsewhere", file=f'"{other.name}"') for other in there)
                parts = {"condition": filters.candidates, "demand": filters.demand, "elsewhere": elsewhere}
                text = statement("search_demanding", **parts)
                return fetch(cursor, text, filters.named_in(text, slices))

        return [row for rows in self._reading.each([file], read) for row in rows]
