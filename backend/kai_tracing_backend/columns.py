"""Spans as columns: what receivers decode into, and what a store takes.

A batch of spans is a `pyarrow.Table` with the schema `BATCH`. An attribute stands in the column of its own name where
it is one of `PROMOTED` and has that type, else in the map of its type; what is neither string, integer, double nor
boolean is in `attributes_other` as `values.dump` writes it. Resource and scope are text, so that many spans share one.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa

from kai_tracing_backend.model import Scope, SpanEvent, SpanLink, StoredSpan
from kai_tracing_backend.values import Value, dump, dump_attributes, load, load_attributes, to_otlp

__all__ = [
    "ARRIVAL",
    "BATCH",
    "MAPS",
    "NO_TIMESTAMP",
    "PROMOTED",
    "SHARED",
    "SpanColumns",
    "dump_events",
    "dump_links",
    "dump_resource",
    "dump_scope",
    "to_span",
]

SHARED = 1 << 31
"""In `flags`: the server half of a call whose client half has the same span id (Zipkin's `shared`)."""

ARRIVAL = 1 << 30
"""In `flags`: the start is when the span arrived, since nothing that came with it said a time. A retry has another."""

NO_TIMESTAMP = "zipkin.no_timestamp"
"""The attribute, true, of a span whose sender did not say when it began, as Zipkin lets it: its start is a guess."""

PROMOTED: dict[str, type] = {
    "http.request.method": str,
    "http.response.status_code": int,
    "http.route": str,
    "url.path": str,
    "url.full": str,
    "url.scheme": str,
    "server.address": str,
    "server.port": int,
    "client.address": str,
    "network.peer.address": str,
    "network.protocol.version": str,
    "user_agent.original": str,
    "error.type": str,
    "db.system.name": str,
    "db.namespace": str,
    "db.operation.name": str,
    "db.collection.name": str,
    "db.query.text": str,
    "rpc.system": str,
    "rpc.service": str,
    "rpc.method": str,
    "messaging.system": str,
    "messaging.destination.name": str,
    "peer.service": str,
    "http.method": str,
    "http.status_code": int,
    "http.url": str,
    "http.target": str,
    "db.system": str,
    "db.statement": str,
}
"""Attributes of the semantic conventions with a column of their own, today's names and those before HTTP was stable."""

MAPS: dict[type, str] = {
    str: "attributes_string",
    int: "attributes_int",
    float: "attributes_double",
    bool: "attributes_bool",
}

_ARROW: dict[type, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_REPEATED = pa.dictionary(pa.int32(), pa.string())

# As `SpanColumns.add` takes them.
_FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    ("parent_id", pa.uint64()),
    ("start_time", pa.int64()),
    ("duration", pa.int64()),
    ("name", pa.string()),
    ("kind", pa.uint8()),
    ("status", pa.uint8()),
    ("status_message", pa.string()),
    ("trace_state", pa.string()),
    ("flags", pa.uint32()),
    ("adjusted_count", pa.float64()),
    ("events", pa.string()),
    ("links", pa.string()),
    ("dropped_attributes", pa.uint32()),
    ("dropped_events", pa.uint32()),
    ("dropped_links", pa.uint32()),
)

_START, _KIND, _FLAGS = ([name for name, _ in _FIELDS].index(name) for name in ("start_time", "kind", "flags"))

BATCH = pa.schema(
    [
        ("trace_high", pa.uint64()),
        ("trace_low", pa.uint64()),
        ("span_id", pa.uint64()),
        *_FIELDS,
        ("service", _REPEATED),
        ("resource", _REPEATED),
        ("scope", _REPEATED),
        *((key, _ARROW[kind]) for key, kind in PROMOTED.items()),
        *((name, pa.map_(pa.string(), _ARROW[kind])) for kind, name in MAPS.items()),
        ("attributes_other", pa.map_(pa.string(), pa.string())),
    ]
)
"""One row for each span. Ids are big-endian integers, so that they sort as they read; `parent_id` 0 is none."""


class _Map:
    """A map column that grows."""

    __slots__ = ("keys", "offsets", "type", "values")

    def __init__(self, kind: pa.DataType) -> None:
        self.type = kind
        self.keys: list[str] = []
        self.values: list[Any] = []
        self.offsets = array("i", [0])

    def finish(self) -> pa.Array:
        offsets = pa.Array.from_buffers(pa.int32(), len(self.offsets), [None, pa.py_buffer(self.offsets)])
        return pa.MapArray.from_arrays(offsets, pa.array(self.keys, pa.string()), pa.array(self.values, self.type))


class SpanColumns:
    """A batch in the making: `origin` says whose spans come next, `add` adds one, `finish` makes the table."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._trace_ids: list[bytes] = []
        self._span_ids: list[bytes] = []
        self._promoted: dict[str, tuple[type, list[Any]]] = {key: (kind, []) for key, kind in PROMOTED.items()}
        self._maps = [*(_Map(_ARROW[kind]) for kind in MAPS), _Map(pa.string())]
        # Looked up once and not for every span.
        *adds, self._add_other = [(column.keys.append, column.values.append) for column in self._maps]
        self._add = dict(zip(MAPS, adds, strict=True))
        self._ends = [(column.offsets.append, column.keys) for column in self._maps]
        self._shared: tuple[dict[str, int], ...] = ({}, {}, {})  # service, resource, scope
        self._origins: list[tuple[int, tuple[int, ...]]] = []  # from which row on

    def __len__(self) -> int:
        return len(self._rows)

    def origin(self, service: str, resource: str, scope: str) -> None:
        """Whose spans are added from now on; resource and scope as `dump_resource` and `dump_scope` write them."""
        texts = zip(self._shared, (service, resource, scope), strict=True)
        self._origins.append((len(self._rows), tuple(known.setdefault(text, len(known)) for known, text in texts)))

    def add(
        self,
        trace_id: bytes,
        span_id: bytes,
        fields: tuple[Any, ...],
        attributes: Mapping[str, Value],
    ) -> None:
        """Add one span: ids of 16 and 8 bytes, what `BATCH` has from `parent_id` to `dropped_links`, its attributes.

        Everything must be valid already; strings must be Unicode.
        """
        row = len(self._rows)
        self._rows.append(fields)
        self._trace_ids.append(trace_id)
        self._span_ids.append(span_id)
        promoted, add = self._promoted, self._add
        for key, value in attributes.items():
            kind = type(value)
            if (column := promoted.get(key)) is not None and column[0] is kind:
                values = column[1]
                if len(values) < row:
                    values.extend([None] * (row - len(values)))
                values.append(value)
            elif (adds := add.get(kind)) is not None:
                adds[0](key)
                adds[1](value)
            else:
                self._add_other[0](key)
                self._add_other[1](dump(value))
        for end, keys in self._ends:
            end(len(keys))

    def keys(self) -> list[tuple[bytes, bytes, int, int, int]]:
        """Of every span its trace's id, its own, its parent's (0 is none), its start and its kind."""
        rows = zip(self._trace_ids, self._span_ids, self._rows, strict=True)
        return [(trace_id, span_id, row[0], row[_START], row[_KIND]) for trace_id, span_id, row in rows]

    def begin(self, row: int, start: int, flags: int = 0) -> None:
        """Say when a span began that was added without a start; `flags` come to those that it has."""
        fields = list(self._rows[row])
        fields[_START] = start
        fields[_FLAGS] |= flags
        self._rows[row] = tuple(fields)

    def add_span(self, span: StoredSpan) -> None:
        """Add a span with its resource and scope; for what comes one by one."""
        self.origin(span.service, dump_resource(span.resource, span.resource_schema_url), dump_scope(span.scope))
        fields = (
            int(span.parent_id or "0", 16),
            span.start_time,
            span.duration,
            span.name,
            span.kind,
            span.status,
            span.status_message,
            span.trace_state,
            span.flags,
            span.adjusted_count,
            dump_events(span.events),
            dump_links(span.links),
            span.dropped_attributes,
            span.dropped_events,
            span.dropped_links,
        )
        self.add(bytes.fromhex(span.trace_id), bytes.fromhex(span.span_id), fields, span.attributes)

    def finish(self) -> pa.Table:
        """The batch. What was added is gone from here."""
        rows = len(self._rows)
        trace_ids = _integers(self._trace_ids)
        columns: list[pa.Array] = [_uint64(trace_ids[::2]), _uint64(trace_ids[1::2])]
        columns.append(_uint64(_integers(self._span_ids)))
        by_field = zip(*self._rows, strict=True) if rows else [()] * len(_FIELDS)
        columns += [pa.array(values, kind) for values, (_, kind) in zip(by_field, _FIELDS, strict=True)]
        for indices, known in zip(self._indices(), self._shared, strict=True):
            columns.append(pa.DictionaryArray.from_arrays(indices, pa.array(list(known), pa.string())))
        for kind, values in self._promoted.values():
            if values:
                columns.append(pa.array(values + [None] * (rows - len(values)), _ARROW[kind]))
            else:
                columns.append(pa.nulls(rows, _ARROW[kind]))
        columns += [column.finish() for column in self._maps]
        self.__init__()  # type: ignore[misc]  # nothing of it is in the next batch
        return pa.Table.from_arrays(columns, schema=BATCH)

    def _indices(self) -> Iterator[pa.Array]:
        """Of every span the indices of its service, resource and scope."""
        bounds = [*self._origins, (len(self._rows), ())]
        for which in range(len(self._shared)):
            indices = array("i")
            for (first, origin), (end, _) in pairwise(bounds):
                indices += array("i", [origin[which]]) * (end - first)
            yield pa.Array.from_buffers(pa.int32(), len(indices), [None, pa.py_buffer(indices)])


def _integers(ids: Sequence[bytes]) -> array[int]:
    numbers = array("Q", b"".join(ids))
    if array("H", b"\0\1")[0] != 1:  # a little-endian machine
        numbers.byteswap()
    return numbers


def _uint64(numbers: array[int]) -> pa.Array:
    return pa.Array.from_buffers(pa.uint64(), len(numbers), [None, pa.py_buffer(numbers.tobytes())])


# -- what is kept as text ----------------------------------------------------------------------------------------------


def dump_resource(attributes: Mapping[str, Value], schema_url: str = "") -> str:
    """A resource as text; equal ones are equal texts."""
    return json.dumps([dump_attributes(attributes), schema_url], ensure_ascii=False)


def dump_scope(scope: Scope) -> str:
    """A scope as text; equal ones are equal texts."""
    parts = [scope.name, scope.version, dump_attributes(scope.attributes), scope.schema_url]
    return json.dumps(parts, ensure_ascii=False)


def dump_events(events: Sequence[SpanEvent]) -> str | None:
    """Events as text, None for none."""
    return _dump([[e.time, e.name, _pairs(e.attributes), e.dropped_attributes] for e in events])


def dump_links(links: Sequence[SpanLink]) -> str | None:
    """Links as text, None for none."""
    return _dump(
        [[x.trace_id, x.span_id, x.trace_state, _pairs(x.attributes), x.flags, x.dropped_attributes] for x in links]
    )


def _pairs(attributes: Mapping[str, Value]) -> dict[str, Any]:
    return {key: to_otlp(value) for key, value in attributes.items()}


def _dump(parts: list[Any]) -> str | None:
    return json.dumps(parts, separators=(",", ":"), ensure_ascii=False) if parts else None


def _loaded(pairs: dict[str, Any]) -> dict[str, Value]:
    return load_attributes(json.dumps(pairs)) if pairs else {}


def to_span(row: Mapping[str, Any]) -> StoredSpan:
    """A span of one row, whose columns are those of `BATCH`."""
    attributes: dict[str, Value] = {key: row[key] for key in PROMOTED if row[key] is not None}
    for name in MAPS.values():
        attributes.update(row[name] or ())
    attributes.update((key, load(value)) for key, value in dict(row["attributes_other"] or ()).items())
    resource, schema_url = json.loads(row["resource"])
    scope_name, version, scope_attributes, scope_schema_url = json.loads(row["scope"])
    return StoredSpan(
        trace_id=f"{row['trace_high']:016x}{row['trace_low']:016x}",
        span_id=f"{row['span_id']:016x}",
        parent_id=f"{row['parent_id']:016x}" if row["parent_id"] else None,
        attributes=attributes,
        events=[SpanEvent(time, name, _loaded(pairs), n) for time, name, pairs, n in json.loads(row["events"] or "[]")],
        links=[
            SpanLink(trace, span, state, _loaded(pairs), flags, dropped)
            for trace, span, state, pairs, flags, dropped in json.loads(row["links"] or "[]")
        ],
        resource=load_attributes(resource),
        resource_schema_url=schema_url,
        scope=Scope(scope_name, version, load_attributes(scope_attributes), scope_schema_url),
        **{name: row[name] for name in _PLAIN},
    )


_PLAIN = ("service", *(name for name, _ in _FIELDS if name not in ("parent_id", "events", "links")))
