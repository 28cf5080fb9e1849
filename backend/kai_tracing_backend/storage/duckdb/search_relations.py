"""How spans have to stand to one another, asked in SQL of many traces at once, before any of them is read.

Each part of the spansets becomes a set of spans, as in `language.structure`: of those that it may have, or (what `!`
takes away) of those that it has for sure. Ids that several spans share make a set larger, never smaller; where
something is taken away such traces stay. About all that stays `language.evaluation` decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import duckdb
import pyarrow as pa

from kai_tracing_backend.columns import SHARED
from kai_tracing_backend.language.nodes import (
    Filter,
    SpansetOperation,
    Spansets,
    TraceQuery,
    walk,
)
from kai_tracing_backend.storage.duckdb.files import DayFile
from kai_tracing_backend.storage.duckdb.reading import Reading, fetch
from kai_tracing_backend.storage.duckdb.search_conditions import fewest_children
from kai_tracing_backend.storage.duckdb.search_filters import Filters, QueryFilters
from kai_tracing_backend.storage.duckdb.segments import few_ranges, within
from kai_tracing_backend.storage.duckdb.statements import statement
from kai_tracing_backend.storage.duckdb.traces import TraceIds

__all__ = ["RelationReader"]

_RELATIONS = {">": "children", "<": "parents", ">>": "descendants", "<<": "ancestors", "~": "siblings"}
_INVERSE = {">": "<", ">>": "<<", "<": ">", "<<": ">>", "~": "~"}


class RelationReader:
    """Asks for one query. `needed` says whether there is anything to ask."""

    def __init__(self, reading: Reading, filters: QueryFilters) -> None:
        self._reading = reading
        self._filters = filters
        self.needed = _relates(filters.query)

    def fitting(self, file: DayFile, others: Sequence[DayFile], traces: Sequence[TraceIds]) -> list[TraceIds]:
        """Those of a day's traces that may be found. `others` are the files that may have spans of them, too."""
        if not traces:
            return []
        wanted = pa.table(
            {
                "number": pa.array(range(len(traces)), pa.int32()),
                "trace_high": pa.array([high for high, _ in traces], pa.uint64()),
                "trace_low": pa.array([low for _, low in traces], pa.uint64()),
            }
        )

        def read(cursor: duckdb.DuckDBPyConnection) -> list[int]:
            cursor.register("wanted", wanted)
            ranges = few_ranges(segment for (segment,) in fetch(cursor, statement("trace_segments")))
            filters = self._filters.of(file, cursor)
            reading = self._reading.files.reading
            with ExitStack() as held:
                there = [other for other in others if held.enter_context(reading(other)) is not None]
                text, window = self._text(filters, ranges, there)
                return [number for (number,) in fetch(cursor, text, filters.named_in(text, window))]

        found = {number for numbers in self._reading.each([file], read) for number in numbers}
        return [ids for number, ids in enumerate(traces) if number in found]

    def _text(
        self, filters: Filters, ranges: Sequence[tuple[int, int]], others: Sequence[DayFile]
    ) -> tuple[str, dict[str, int]]:
        condition, window = within(ranges)
        columns = ", ".join(
            f"coalesce({text}, FALSE) AS {kind}{index}"
            for index, bounds in enumerate(filters.bounds)
            for kind, text in (("sure", bounds.sure), ("maybe", bounds.maybe))
        )
        sets = _Sets(self._filters.leaves)
        found = sets.of(self._filters.query.spansets, "maybe")
        text = statement(
            "search_related",
            shared=f"flags & {SHARED} <> 0",
            filters=columns,
            ranges=condition,
            sets=", ".join(sets.texts),
            found=found,
            odd=statement("relate_odd") if sets.taken_away else "",
            elsewhere="".join(statement("search_related_elsewhere", file=f'"{other.name}"') for other in others),
        )
        return text, window | sets.parameters


class _Sets:
    """Makes a common table of each set; `texts` are these, in order."""

    def __init__(self, leaves: Sequence[Filter]) -> None:
        self._leaves = leaves
        self.texts: list[str] = []
        self.parameters: dict[str, int] = {}
        self.taken_away = False

    def of(self, node: Spansets, kind: str) -> str:
        """The name of the set of spans that spansets have for `sure`, or of those that they `maybe` have."""
        if isinstance(node, Filter):
            return self._leaf(node, kind)
        right = self.of(node.right, kind)
        if node.op[0] == "!":
            return self._taken_away(node, right, kind)
        left = self.of(node.left, kind)
        if node.op in ("&&", "||"):
            return self._named("set_both" if node.op == "&&" else "set_either", left=left, right=right)
        op = node.op.removeprefix("&")
        found = self._named("set_in", of=right, related=self._related(op, left))
        if node.op[0] != "&":
            return found
        inverse = self._named("set_in", of=left, related=self._related(_INVERSE[op], right))
        return self._named("set_either", left=found, right=inverse)

    def _taken_away(self, node: SpansetOperation, right: str, kind: str) -> str:
        op = node.op[1:]
        self.taken_away = True
        if kind == "maybe" and op in (">>", "<<"):  # who is whose descendant in a circle of spans, ids do not say
            return right
        related = self._related(op, self.of(node.left, "sure" if kind == "maybe" else "maybe"))
        return self._named("set_out", of=right, related=related)

    def _leaf(self, leaf: Filter, kind: str) -> str:
        passed = f"{kind}{self._leaves.index(leaf)}"
        if (fewest := fewest_children(leaf.condition)) < 2:
            return self._named("set_leaf", passed=passed)
        name = f"fewest{len(self.parameters)}"
        self.parameters[name] = fewest
        return self._named("set_crowded", passed=passed, fewest=f"${name}")

    def _related(self, op: str, of: str) -> str:
        return self._named(f"relate_{_RELATIONS[op]}", of=of)

    def _named(self, text: str, **parts: str) -> str:
        name = f"set{len(self.texts)}"
        self.texts.append(f"{name}(trace, id) AS ({statement(text, own=name, **parts)})")
        return name


def _relates(query: TraceQuery) -> bool:
    nodes = [node for node, _ in walk(query.spansets)]
    return any(
        (isinstance(node, SpansetOperation) and node.op not in ("&&", "||"))
        or (isinstance(node, Filter) and fewest_children(node.condition) > 1)
        for node in nodes
    )
