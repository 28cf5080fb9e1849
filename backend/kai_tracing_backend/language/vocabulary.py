"""The words of the language."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = [
    "ALIASES",
    "ENUMS",
    "FUNCTIONS",
    "ID_DIGITS",
    "INTRINSICS",
    "METRICS",
    "MISNOMERS",
    "SCOPES",
    "UNITS",
    "Kind",
]

Kind: TypeAlias = Literal["string", "int", "float", "duration", "bool", "status", "kind", "nil"]

SCOPES = ("span", "resource", "event", "link", "instrumentation")

INTRINSICS: dict[str, Kind] = {
    "name": "string",
    "status": "status",
    "statusMessage": "string",
    "kind": "kind",
    "duration": "duration",
    "span:id": "string",
    "span:parentID": "string",
    "span:childCount": "int",
    "nestedSetParent": "int",
    "traceDuration": "duration",
    "rootName": "string",
    "rootServiceName": "string",
    "trace:id": "string",
    "event:name": "string",
    "event:timeSinceStart": "duration",
    "link:traceID": "string",
    "link:spanID": "string",
    "instrumentation:name": "string",
    "instrumentation:version": "string",
}

ID_DIGITS = {"trace:id": 32, "link:traceID": 32, "span:id": 16, "span:parentID": 16, "link:spanID": 16}
"""Intrinsics that are ids, with their number of digits: a shorter one in a query has zeros on the left."""
"""What every span has, with its type. Of `nestedSetParent` only the sign is kept: -1 for a root, else 1."""

ALIASES = {
    "span:name": "name",
    "span:status": "status",
    "span:statusMessage": "statusMessage",
    "span:kind": "kind",
    "span:duration": "duration",
    "trace:duration": "traceDuration",
    "trace:rootName": "rootName",
    "trace:rootService": "rootServiceName",
    "parent": "span:parentID",
    "childCount": "span:childCount",
}
"""Other spellings of intrinsics."""

MISNOMERS = {
    "service": "service.name",
    "servicename": "service.name",
    "operation": "name",
    "operationname": "name",
    "spanname": "name",
    "traceid": "trace:id",
    "trace_id": "trace:id",
    "spanid": "span:id",
    "span_id": "span:id",
    "parentid": "span:parentID",
    "parent_id": "span:parentID",
    "rootservice": "rootServiceName",
    "latency": "duration",
    "nestedsetleft": "{A} >> {B}",
    "nestedsetright": "{A} >> {B}",
}
"""What others call it, in lower case: not taken, but explained."""

ENUMS: dict[str, tuple[Kind, int]] = {
    "unset": ("status", 0),
    "ok": ("status", 1),
    "error": ("status", 2),
    "unspecified": ("kind", 0),
    "internal": ("kind", 1),
    "server": ("kind", 2),
    "client": ("kind", 3),
    "producer": ("kind", 4),
    "consumer": ("kind", 5),
}
"""The words for OTLP's numbers of statuses and kinds."""

UNITS = {
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "µs": 1_000,
    "ns": 1,
}
"""Those of durations, in nanoseconds."""

FUNCTIONS = ("count", "avg", "min", "max", "sum", "by", "select", "coalesce")

METRICS = (
    "rate",
    "count_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "quantile_over_time",
    "histogram_over_time",
    "compare",
    "topk",
    "bottomk",
)
"""TraceQL's functions that make metrics, which this language has not."""
