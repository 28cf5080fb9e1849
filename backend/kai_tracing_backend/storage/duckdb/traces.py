"""Whole traces as a search sees them: all their spans, and which filters of the query each span passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa

from kai_tracing_backend.columns import to_span
from kai_tracing_backend.language.evaluation import Found, evaluate, holds
from kai_tracing_backend.language.nodes import Field, Filter, walk
from kai_tracing_backend.language.trace import Trace
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.storage.duckdb.files import DayFile
from kai_tracing_backend.storage.duckdb.reading import Reading, fetch, fetch_named
from kai_tracing_backend.storage.duckdb.search_filters import Filters, QueryFilters
from kai_tracing_backend.storage.duckdb.segments import few_ranges, within
from kai_tracing_backend.storage.duckdb.statements import statement

__all__ = ["TraceIds", "TraceReader"]

TraceIds = tuple[int, int]
"""The high and the low half of a trace id."""

_HEAVY = ("event:", "link:", "instrumentation:")
_KEY = ("trace_high", "trace_low", "span_id", "start_time", "kind")


class TraceReader:
    """Reads traces for one query."""

    def __init__(self, reading: Reading, filters: QueryFilters) -> None:
        self._reading = reading
        self._filters = filters
        self._heavy = any(isinstance(node, Field) and _is_heavy(node) for node, _ in walk(filters.query))

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
            ranges = few_ranges(segment for (segment,) in fetch(cursor, statement("trace_segments")))
            if not ranges:
                return
            filters = self._filters.of(file, cursor)
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
            place = 2 * self._filters.leaves.index(leaf)
            found = set()
            for index, span in enumerate(trace.spans):
                sure, maybe = flags[id(span)][place : place + 2]
                if sure or (maybe and holds(leaf.condition, trace, index)):
                    found.add(index)
            return found

        sets = evaluate(self._filters.query, trace, select)
        return (trace, sets) if sets else None

    def _rows(
        self, cursor: duckdb.DuckDBPyConnection, filters: Filters, ranges: Sequence[tuple[int, int]]
    ) -> list[tuple[Any, ...]]:
        columns = ", ".join(f"coalesce({text}, FALSE)" for bounds in filters.bounds for text in bounds)
        condition, window = within(ranges)
        text = statement("search_spans", filters=columns, ranges=condition)
        return fetch(cursor, text, filters.named_in(text, window))

    def _heavy_spans(
        self, cursor: duckdb.DuckDBPyConnection, filters: Filters, ranges: Sequence[tuple[int, int]]
    ) -> dict[tuple[Any, ...], StoredSpan]:
        """The spans that a filter may select, with all that they have."""
        condition, window = within(ranges)
        any_filter = " OR ".join(f"({bounds.maybe})" for bounds in filters.bounds)
        text = statement("read_traces", ranges=condition, condition=any_filter)
        rows = fetch_named(cursor, text, filters.named_in(text, window))
        return {tuple(row[name] for name in _KEY): to_span(row) for row in rows}


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
