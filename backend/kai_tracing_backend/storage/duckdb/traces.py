"""Whole traces as a search sees them: all their spans, and which filters of the query each span passes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import duckdb
import pyarrow as pa

from kai_tracing_backend.columns import to_span
from kai_tracing_backend.language.evaluation import Found, evaluate, holds
from kai_tracing_backend.language.nodes import Field, Filter, Spansets, TraceQuery, walk
from kai_tracing_backend.language.trace import Trace
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.storage.duckdb.attribute_index import segments_with
from kai_tracing_backend.storage.duckdb.files import DayFile
from kai_tracing_backend.storage.duckdb.reading import Reading, fetch, fetch_named
from kai_tracing_backend.storage.duckdb.search_conditions import Bounds, SearchConditions, demanded
from kai_tracing_backend.storage.duckdb.segments import ranges as segment_ranges
from kai_tracing_backend.storage.duckdb.statements import statement

__all__ = ["TraceIds", "TraceReader"]

TraceIds = tuple[int, int]
"""The high and the low half of a trace id."""

_HEAVY = ("event:", "link:", "instrumentation:")
_MOST_RANGES = 40
_PARAMETER = re.compile(r"\$(\w+)")
_KEY = ("trace_high", "trace_low", "span_id", "start_time", "kind")


@dataclass(frozen=True)
class _Filters:
    """The filters of a query as expressions over the spans of one file."""

    bounds: Sequence[Bounds]
    parameters: Mapping[str, Any]
    candidates: str
    """True of every span that the query may find."""


class TraceReader:
    """Reads traces for one query."""

    def __init__(self, reading: Reading, query: TraceQuery) -> None:
        self._reading = reading
        self._query = query
        self._leaves = list(dict.fromkeys(_leaves(query.spansets)))
        self._found_by = {self._leaves.index(leaf) for leaf in _found_by(query.spansets)}
        self._heavy = any(isinstance(node, Field) and _is_heavy(node) for node, _ in walk(query))
        self._filters: dict[DayFile, _Filters] = {}

    def extent(self, file: DayFile) -> tuple[int, int] | None:
        """The starts of the first and the last span of a day; None where there are none."""
        for ((first, last),) in self._reading.each([file], lambda cursor: fetch(cursor, statement("search_extent"))):
            return None if first is None else (first, last)
        return None

    def candidates(self, file: DayFile, begin: int, until: int, most: int) -> list[tuple[int, int, int]]:
        """The traces with a span in the slice that the query may find, with the latest such span's start."""

        def read(cursor: duckdb.DuckDBPyConnection) -> list[tuple[int, int, int]]:
            filters = self._of_file(file, cursor)
            text = _composed("search_candidates", condition=filters.candidates)
            return _fetch(cursor, text, filters, {"begin": begin, "until": until, "most": most})

        return [row for rows in self._reading.each([file], read) for row in rows]

    def found(self, files: Sequence[DayFile], traces: Sequence[TraceIds]) -> list[tuple[Trace, list[Found]]]:
        """Those of the traces that the query finds, with what it finds, given the spans of these days."""
        spans: dict[TraceIds, list[StoredSpan]] = {}
        flags: dict[int, Sequence[bool]] = {}
        wanted = pa.table(
            {
                "trace_high": pa.array([high for high, _ in traces], pa.uint64()),
                "trace_low": pa.array([low for _, low in traces], pa.uint64()),
            }
        )

        def read(file: DayFile, cursor: duckdb.DuckDBPyConnection) -> None:
            cursor.register("wanted", wanted)
            ranges = _merged(segment_ranges(segment for (segment,) in fetch(cursor, statement("trace_segments"))))
            if not ranges:
                return
            filters = self._of_file(file, cursor)
            heavy = self._heavy_spans(cursor, filters, ranges) if self._heavy else {}
            for row in self._rows(cursor, filters, ranges):
                high, low, own, _, start, _, _, kind, *_ = row
                span = heavy.get((high, low, own, start, kind)) or _light_span(row)
                spans.setdefault((high, low), []).append(span)
                flags[id(span)] = row[_LIGHT:]

        for file in files:
            for _ in self._reading.each([file], lambda cursor, file=file: read(file, cursor)):  # type: ignore[misc]  # mypy and defaults of lambdas
                pass
        return [pair for ids in traces if ids in spans and (pair := self._evaluated(spans[ids], flags))]

    def _evaluated(self, spans: list[StoredSpan], flags: dict[int, Sequence[bool]]) -> tuple[Trace, list[Found]] | None:
        trace = Trace(spans)

        def select(leaf: Filter) -> set[int]:
            place = 2 * self._leaves.index(leaf)
            found = set()
            for index, span in enumerate(trace.spans):
                sure, maybe = flags[id(span)][place : place + 2]
                if sure or (maybe and holds(leaf.condition, trace, index)):
                    found.add(index)
            return found

        sets = evaluate(self._query, trace, select)
        return (trace, sets) if sets else None

    # -- statements --------------------------------------------------------------------------------------------------

    def _of_file(self, file: DayFile, cursor: duckdb.DuckDBPyConnection) -> _Filters:
        if (known := self._filters.get(file)) is None:
            conditions = SearchConditions(
                lambda: dict(fetch(cursor, statement("read_resources"))),
                lambda: dict(fetch(cursor, statement("read_scopes"))),
            )
            bounds = [conditions.bounds(leaf.condition) for leaf in self._leaves]
            candidates = " OR ".join(f"({bounds[index].maybe})" for index in sorted(self._found_by))
            narrowed, window = self._narrowed(cursor)
            parameters = {**conditions.parameters, **window}
            known = self._filters[file] = _Filters(bounds, parameters, f"({narrowed}) AND ({candidates})")
        return known

    def _narrowed(self, cursor: duckdb.DuckDBPyConnection) -> tuple[str, dict[str, int]]:
        """In which segments candidates are, as the attribute index knows."""
        segments: set[int] = set()
        for index in self._found_by:
            attribute = demanded(self._leaves[index].condition)
            there = None if attribute is None else segments_with(cursor, *attribute)
            if there is None:
                return "TRUE", {}
            segments.update(there)
        if not segments:
            return "FALSE", {}
        condition, window = _within(_merged(segment_ranges(segments)), "narrowed_")
        whole = {"narrowed_from": min(segments), "narrowed_to": max(segments)}
        return f"segment BETWEEN $narrowed_from AND $narrowed_to AND ({condition})", {**window, **whole}

    def _rows(
        self, cursor: duckdb.DuckDBPyConnection, filters: _Filters, ranges: Sequence[tuple[int, int]]
    ) -> list[tuple[Any, ...]]:
        columns = ", ".join(f"coalesce({text}, FALSE)" for bounds in filters.bounds for text in bounds)
        condition, window = _within(ranges)
        text = _composed("search_spans", filters=columns, ranges=condition)
        return _fetch(cursor, text, filters, window)

    def _heavy_spans(
        self, cursor: duckdb.DuckDBPyConnection, filters: _Filters, ranges: Sequence[tuple[int, int]]
    ) -> dict[tuple[Any, ...], StoredSpan]:
        """The spans that a filter may select, with all that they have."""
        condition, window = _within(ranges)
        any_filter = " OR ".join(f"({bounds.maybe})" for bounds in filters.bounds)
        text = _composed("read_traces", ranges=condition, condition=any_filter)
        rows = fetch_named(cursor, text, _used(text, {**filters.parameters, **window}))
        return {tuple(row[name] for name in _KEY): to_span(row) for row in rows}


def _leaves(node: Spansets) -> list[Filter]:
    return [node] if isinstance(node, Filter) else [*_leaves(node.left), *_leaves(node.right)]


def _found_by(node: Spansets) -> list[Filter]:
    """The filters whose spans may be among those that are found."""
    if isinstance(node, Filter):
        return [node]
    if node.op in ("&&", "||") or node.op[0] == "&":
        return [*_found_by(node.left), *_found_by(node.right)]
    return _found_by(node.right)


def _is_heavy(field: Field) -> bool:
    if field.scope == "intrinsic":
        return field.name.startswith(_HEAVY)
    return field.name != "service.name" or field.scope not in ("", "resource")


_LIGHT = 12  # columns of search_spans.sql before the filters


def _light_span(row: Sequence[Any]) -> StoredSpan:
    high, low, own, parent, start, duration, name, kind, status, message, flags, service = row[:_LIGHT]
    return StoredSpan(
        trace_id=f"{high:016x}{low:016x}",
        span_id=f"{own:016x}",
        parent_id=f"{parent:016x}" if parent else None,
        name=name,
        service=service,
        start_time=start,
        duration=duration,
        kind=kind,
        status=status,
        status_message=message,
        flags=flags,
    )


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Few ranges that hold all of these, which are sorted: those that are nearest to one another become one."""
    merged: list[list[int]] = []
    for first, last in ranges:
        if merged and first <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    gaps = sorted(right[0] - left[1] for left, right in pairwise(merged))
    bridged = gaps[-_MOST_RANGES] if len(gaps) >= _MOST_RANGES else 0
    few: list[list[int]] = []
    for first, last in merged:
        if few and first - few[-1][1] <= bridged:
            few[-1][1] = last
        else:
            few.append([first, last])
    return [(first, last) for first, last in few]


def _within(ranges: Sequence[tuple[int, int]], name: str = "") -> tuple[str, dict[str, int]]:
    terms = [f"segment BETWEEN ${name}first{index} AND ${name}last{index}" for index in range(len(ranges))]
    window: dict[str, int] = {}
    for index, (first, last) in enumerate(ranges):
        window |= {f"{name}first{index}": first, f"{name}last{index}": last}
    return " OR ".join(terms), window


def _composed(name: str, **parts: str) -> str:
    """A statement with expressions of this package in the places that are meant for them."""
    text = statement(name)
    for place, expression in parts.items():
        text = text.replace(f"/* {place} */", expression)
    return text


def _used(text: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: parameters[name] for name in dict.fromkeys(_PARAMETER.findall(text))}


def _fetch(
    cursor: duckdb.DuckDBPyConnection, text: str, filters: _Filters, parameters: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    return fetch(cursor, text, _used(text, {**filters.parameters, **parameters}))
