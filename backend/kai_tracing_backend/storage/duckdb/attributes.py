"""Which attributes the spans of a window have, and which values: what people choose from when they write a query."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from kai_tracing_backend.columns import MAPS, PROMOTED
from kai_tracing_backend.model import AttributeKey, AttributeValue
from kai_tracing_backend.storage.duckdb.files import DayFile
from kai_tracing_backend.storage.duckdb.reading import DAY, Reading, fetch, first_moment
from kai_tracing_backend.storage.duckdb.statements import statement
from kai_tracing_backend.values import Value, load_attributes, plain

__all__ = ["attribute_keys", "attribute_values"]

_TYPES = {str: "string", int: "int", float: "double", bool: "bool"}
_COUNTED = ", ".join(f'count("{key}")' for key in PROMOTED)
_OWN = {"name": "name", "statusMessage": "status_message"}
"""What every span has, as a column."""

Window = Mapping[str, int | str]


def attribute_keys(reading: Reading, start: int, end: int, limit: int) -> list[AttributeKey]:
    """The attributes of a window; see `SpanStore.attribute_keys`."""
    window = {"start": start, "end": end}
    counts: Counter[tuple[str, str, str]] = Counter()
    for found in reading.each(_days(reading, start, end), lambda cursor: _keys(cursor, window)):
        counts.update(found)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [AttributeKey(key, scope, kind, spans) for (scope, key, kind), spans in ordered[:limit]]


def attribute_values(
    reading: Reading, key: str, start: int, end: int, scope: str, prefix: str, service: str, limit: int
) -> list[AttributeValue]:
    """The values of an attribute; see `SpanStore.attribute_values`."""
    window: Window = {"start": start, "end": end, "service": service}
    counts: Counter[tuple[str, str]] = Counter()
    values: dict[tuple[str, str], Value] = {}

    def read(cursor: duckdb.DuckDBPyConnection) -> list[tuple[Value, int]]:
        return list(_values(cursor, key, scope, window))

    for found in reading.each(_days(reading, start, end), read):
        for value, spans in found:
            shown = type(value).__name__, plain(value)
            if shown[1].startswith(prefix):
                values[shown] = value
                counts[shown] += spans
    ordered = sorted(counts, key=lambda shown: (-counts[shown], shown))
    return [AttributeValue(values[shown], counts[shown]) for shown in ordered[:limit]]


def _days(reading: Reading, start: int, end: int) -> list[DayFile | None]:
    return [file for file in reading.days() if start - DAY < first_moment(file) < end]


def _keys(cursor: duckdb.DuckDBPyConnection, window: Window) -> Counter[tuple[str, str, str]]:
    counts: Counter[tuple[str, str, str]] = Counter()
    ((*promoted,),) = fetch(cursor, statement("count_promoted", columns=_COUNTED), window)
    for (key, kind), spans in zip(PROMOTED.items(), promoted, strict=True):
        if spans:
            counts["span", key, _TYPES[kind]] += spans
    for kind_name, key, spans in fetch(cursor, statement("count_keys"), window):
        counts["span", key, kind_name] += spans
    for attributes, spans in _resources(cursor, {**window, "service": ""}):
        for key, value in attributes.items():
            counts["resource", key, _TYPES.get(type(value), "other")] += spans
    return counts


def _values(cursor: duckdb.DuckDBPyConnection, key: str, scope: str, window: Window) -> Iterator[tuple[Value, int]]:
    if scope in ("", "resource"):
        for attributes, spans in _resources(cursor, window):
            if key in attributes:
                yield attributes[key], spans
    if scope in ("", "span"):
        if key in PROMOTED:
            yield from fetch(cursor, statement("count_values", value=f'"{key}"'), window)
        for column in MAPS.values():
            yield from fetch(cursor, statement("count_values", value=f"{column}[$key]"), {**window, "key": key})
    if scope == "intrinsic" and key in _OWN:
        yield from fetch(cursor, statement("count_values", value=_OWN[key]), window)


def _resources(cursor: duckdb.DuckDBPyConnection, window: Window) -> Iterator[tuple[dict[str, Any], int]]:
    for text, spans in fetch(cursor, statement("count_resources"), window):
        yield load_attributes(json.loads(text)[0]), spans
