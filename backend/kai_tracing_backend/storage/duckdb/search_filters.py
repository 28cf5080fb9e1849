"""A query's filters as expressions over the spans of one day's file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from kai_tracing_backend.language.nodes import And, Condition, Filter, Or, Spansets, TraceQuery
from kai_tracing_backend.storage.duckdb.attribute_index import segments_with
from kai_tracing_backend.storage.duckdb.expressions import Bounds, joined
from kai_tracing_backend.storage.duckdb.files import DayFile
from kai_tracing_backend.storage.duckdb.reading import fetch
from kai_tracing_backend.storage.duckdb.search_conditions import SearchConditions
from kai_tracing_backend.storage.duckdb.search_demands import Demands
from kai_tracing_backend.storage.duckdb.segments import few_ranges
from kai_tracing_backend.storage.duckdb.statements import statement

__all__ = ["Filters", "QueryFilters"]

_PARAMETER = re.compile(r"\$(\w+)")


@dataclass(frozen=True)
class Filters:
    """The expressions, and the parameters that they name."""

    bounds: Sequence[Bounds]
    """Those of each of `QueryFilters.leaves`."""
    candidates: str
    """True of every span that the query may find."""
    demand: str
    """True of the group of a trace's spans where the query may find some of them; see `Demands`."""
    parameters: Mapping[str, Any]

    def named_in(self, text: str, others: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the parameters, and of others, that a statement names: DuckDB takes no more."""
        every = {**self.parameters, **others}
        return {name: every[name] for name in dict.fromkeys(_PARAMETER.findall(text))}


class QueryFilters:
    """The filters before the first `|` of one query."""

    def __init__(self, query: TraceQuery) -> None:
        self.query = query
        self.leaves = list(dict.fromkeys(_leaves(query.spansets)))
        self._then = [stage.condition for stage in query.stages if isinstance(stage, Filter)]
        self._known: dict[DayFile, Filters] = {}

    def of(self, file: DayFile, cursor: duckdb.DuckDBPyConnection) -> Filters:
        """The expressions for a file, which the connection is to."""
        if (known := self._known.get(file)) is None:
            known = self._known[file] = self._made(cursor)
        return known

    def _made(self, cursor: duckdb.DuckDBPyConnection) -> Filters:
        conditions = SearchConditions(
            lambda: dict(fetch(cursor, statement("read_resources"))),
            lambda: dict(fetch(cursor, statement("read_scopes"))),
        )
        index = _Index(cursor, conditions)
        bounds = [conditions.bounds(leaf.condition) for leaf in self.leaves]
        maybe = {
            leaf: joined("AND", "TRUE", [index.narrowed(leaf.condition), one.maybe])
            for leaf, one in zip(self.leaves, bounds, strict=True)
        }
        exact = {leaf for leaf, one in zip(self.leaves, bounds, strict=True) if one.sure == one.maybe}
        demands = Demands(conditions, maybe, exact)
        then = [part for one in self._then for part in (index.narrowed(one), conditions.bounds(one).maybe)]
        found = joined("AND", "TRUE", [demands.found(self.query.spansets), *then])
        demand = demands.of(self.query)
        return Filters(bounds, found, demand, conditions.parameters)


class _Index:
    """The attribute index of a file, asked with conditions."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, conditions: SearchConditions) -> None:
        self._cursor = cursor
        self._conditions = conditions

    def segments(self, condition: Condition) -> set[int] | None:
        """All that have a span of which the condition is true, and others; None where the index does not know."""
        if not isinstance(condition, (And, Or)):
            texts = self._conditions.texts_of_span(condition)
            found = [segments_with(self._cursor, *text) for text in texts]
            return _union(found) if found else None
        parts = [self.segments(part) for part in condition.parts]
        if isinstance(condition, Or):
            return _union(parts)
        known = [part for part in parts if part is not None]
        return set.intersection(*known) if known else None

    def narrowed(self, condition: Condition) -> str:
        """True of the spans in those segments."""
        segments = self.segments(condition)
        if segments is None:
            return "TRUE"
        if not segments:
            return "FALSE"
        ranges = few_ranges(segments)
        whole = (ranges[0][0], ranges[-1][1])  # what a scan can be cut down to
        if 2 * sum(last - first + 1 for first, last in ranges) > whole[1] - whole[0]:
            return self._within(whole)  # to tell the others apart takes longer than to ask them
        return joined("AND", "TRUE", [self._within(whole), joined("OR", "FALSE", [*map(self._within, ranges)])])

    def _within(self, segments: tuple[int, int]) -> str:
        first, last = map(self._conditions.value, segments)
        return f"segment BETWEEN {first} AND {last}"


def _union(parts: Sequence[Sequence[int] | set[int] | None]) -> set[int] | None:
    known = [part for part in parts if part is not None]
    return set().union(*known) if len(known) == len(parts) else None


def _leaves(node: Spansets) -> list[Filter]:
    return [node] if isinstance(node, Filter) else [*_leaves(node.left), *_leaves(node.right)]
