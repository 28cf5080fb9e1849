"""Which attributes the spans of a window have, and which values: what people choose from when they write a query."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import duckdb

from kai_tracing_backend.columns import MAPS, PROMOTED
from kai_tracing_backend.language.building import all_of
from kai_tracing_backend.language.nodes import Condition
from kai_tracing_backend.model import AttributeKey, AttributeValue
from kai_tracing_backend.storage.duckdb.files import DayFile
from kai_tracing_backend.storage.duckdb.reading import DAY, Reading, fetch, first_moment
from kai_tracing_backend.storage.duckdb.search_filters import QueryFilters
from kai_tracing_backend.storage.duckdb.statements import statement
from kai_tracing_backend.values import Value, load_attributes, plain

__all__ = ["AttributeReader"]

_TYPES = {str: "string", int: "int", float: "double", bool: "bool"}
_COUNTED = ", ".join(f'count("{key}")' for key in PROMOTED)
_OWN = {"name": "name", "statusMessage": "status_message"}
"""What every span has, as a column."""
_MOST_VALUES = 10_000  # of an attribute, that a day is asked for


class AttributeReader:
    """Counts attributes of the spans of a window; of those alone that may fulfil `where`, if it is given."""

    def __init__(self, reading: Reading, start: int, end: int, where: Condition | None) -> None:
        self._reading = reading
        self._window = {"start": start, "end": end}
        self._days = [file for file in reading.days() if start - DAY < first_moment(file) < end]
        self._filters = QueryFilters(all_of() if where is None else all_of(where))

    def keys(self, scope: str, prefix: str, limit: int) -> list[AttributeKey]:
        """The attributes; see `SpanStore.attribute_keys`."""
        counts: Counter[tuple[str, str, str]] = Counter()
        for file in self._days:
            for found in self._reading.each([file], partial(self._keys, file, scope, prefix)):
                counts.update(found)
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return [AttributeKey(key, where, kind, spans) for (where, key, kind), spans in ordered[:limit]]

    def values(self, key: str, scope: str, prefix: str, limit: int) -> list[AttributeValue]:
        """The values of an attribute; see `SpanStore.attribute_values`."""
        counts: Counter[tuple[str, str]] = Counter()
        values: dict[tuple[str, str], Value] = {}
        for file in self._days:
            for found in self._reading.each([file], partial(self._values, file, key, scope, prefix)):
                for value, spans in found:
                    shown = type(value).__name__, plain(value)
                    if shown[1].startswith(prefix):
                        values[shown] = value
                        counts[shown] += spans
        ordered = sorted(counts, key=lambda shown: (-counts[shown], shown))
        return [AttributeValue(values[shown], counts[shown]) for shown in ordered[:limit]]

    # -- of one day --------------------------------------------------------------------------------------------------

    def _keys(
        self, file: DayFile, scope: str, prefix: str, cursor: duckdb.DuckDBPyConnection
    ) -> Counter[tuple[str, str, str]]:
        counts: Counter[tuple[str, str, str]] = Counter()
        if scope in ("", "span"):
            ((*promoted,),) = self._fetch(file, cursor, "count_promoted", columns=_COUNTED)
            for (key, kind), spans in zip(PROMOTED.items(), promoted, strict=True):
                if spans and key.startswith(prefix):
                    counts["span", key, _TYPES[kind]] += spans
            for kind_name, key, spans in self._fetch(file, cursor, "count_keys", {"prefix": prefix}):
                counts["span", key, kind_name] += spans
        if scope in ("", "resource"):
            for attributes, spans in self._resources(file, cursor):
                for key in filter(lambda key: key.startswith(prefix), attributes):
                    counts["resource", key, _TYPES.get(type(attributes[key]), "other")] += spans
        return counts

    def _values(
        self, file: DayFile, key: str, scope: str, prefix: str, cursor: duckdb.DuckDBPyConnection
    ) -> list[tuple[Value, int]]:
        found: list[tuple[Value, int]] = []
        if scope in ("", "resource"):
            found += [
                (attributes[key], spans) for attributes, spans in self._resources(file, cursor) if key in attributes
            ]
        columns: list[tuple[str, type]] = []
        if scope in ("", "span"):
            columns += [(f'"{key}"', PROMOTED[key])] if key in PROMOTED else []
            columns += [(f"{column}[$key]", kind) for kind, column in MAPS.items()]
        elif scope == "intrinsic" and key in _OWN:
            columns.append((_OWN[key], str))
        for column, kind in columns:
            fitting = "starts_with(value, $prefix)" if kind is str else "TRUE"
            parameters: dict[str, int | str] = {"key": key, "prefix": prefix, "most": _MOST_VALUES}
            found += self._fetch(file, cursor, "count_values", parameters, value=column, fitting=fitting)
        return found

    def _resources(self, file: DayFile, cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[dict[str, Any], int]]:
        for text, spans in self._fetch(file, cursor, "count_resources"):
            yield load_attributes(json.loads(text)[0]), spans

    def _fetch(
        self,
        file: DayFile,
        cursor: duckdb.DuckDBPyConnection,
        name: str,
        parameters: Mapping[str, int | str] | None = None,
        **parts: str,
    ) -> list[Any]:
        filters = self._filters.of(file, cursor)
        text = statement(name, where=filters.candidates, **parts)
        return fetch(cursor, text, filters.named_in(text, {**self._window, **(parameters or {})}))
