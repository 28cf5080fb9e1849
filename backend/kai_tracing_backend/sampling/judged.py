"""Spans in columns as the core's tail policies see them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from kai_tracing_backend.columns import MAPS, PROMOTED
from kai_tracing_backend.values import load, load_attributes
from kai_tracing_core.sampling.tail_policies import TailTrace

__all__ = ["Chunk", "JudgedSpan", "JudgedTrace"]

_FORMATS: dict[str, Literal["Q", "q", "B"]] = {"uint64": "Q", "int64": "q", "uint8": "B"}


class Chunk:
    """Spans that arrived together: a batch whose columns are read row by row."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table.unify_dictionaries().combine_chunks()
        self._numbers: dict[str, memoryview] = {}
        self._attributes: dict[str, list[Any]] = {}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def bytes(self) -> int:
        """What it takes."""
        return int(self.table.nbytes)

    def numbers(self, name: str) -> memoryview:
        """A column of integers without nulls, in place."""
        found = self._numbers.get(name)
        if found is None:
            column = self.table[name].chunk(0)
            view = memoryview(column.buffers()[1]).cast("B").cast(_FORMATS[str(column.type)])
            found = self._numbers[name] = view[column.offset : column.offset + len(column)]
        return found

    def trace_ids(self) -> list[int]:
        """The trace of each span."""
        high, low = self.numbers("trace_high"), self.numbers("trace_low")
        return [one << 64 | other for one, other in zip(high, low, strict=True)]

    def text(self, name: str, row: int) -> str:
        """One text."""
        return str(self.table[name][row].as_py())

    def attribute(self, key: str) -> list[Any]:
        """An attribute of each span, or else of its resource; None where there is none."""
        found = self._attributes.get(key)
        if found is None:
            found = self._resource_attribute(key)
            for values in self._span_attribute(key):
                found = [old if new is None else new for old, new in zip(found, values, strict=True)]
            self._attributes[key] = found
        return found

    def _resource_attribute(self, key: str) -> list[Any]:
        column = self.table["resource"].chunk(0)
        values = [load_attributes(json.loads(text)[0]).get(key) for text in column.dictionary.to_pylist()]
        return [values[index] for index in column.indices.to_pylist()]

    def _span_attribute(self, key: str) -> Iterator[list[Any]]:
        if key in PROMOTED:
            yield self.table[key].to_pylist()
        for name in MAPS.values():
            yield pc.map_lookup(self.table[name], pa.scalar(key), "last").to_pylist()
        others = pc.map_lookup(self.table["attributes_other"], pa.scalar(key), "last").to_pylist()
        yield [None if text is None else load(text) for text in others]


class JudgedSpan:
    """One row, with what `EndedSpan` has. Its attributes are those of its resource, too."""

    __slots__ = ("_chunk", "_row")

    def __init__(self, chunk: Chunk, row: int) -> None:
        self._chunk = chunk
        self._row = row

    @property
    def name(self) -> str:
        """The operation."""
        return self._chunk.text("name", self._row)

    @property
    def service(self) -> str:
        """Whose it is."""
        return self._chunk.text("service", self._row)

    @property
    def _start(self) -> int:
        return int(self._chunk.numbers("start_time")[self._row])

    @property
    def _end(self) -> int:
        return self._start + int(self._chunk.numbers("duration")[self._row])

    @property
    def _status(self) -> int:
        return int(self._chunk.numbers("status")[self._row])

    @property
    def _attributes(self) -> Mapping[str, Any]:
        return _Attributes(self._chunk, self._row)


class _Attributes(Mapping[str, Any]):
    """Attributes that are looked up when a policy asks for one; they cannot be listed."""

    def __init__(self, chunk: Chunk, row: int) -> None:
        self._chunk = chunk
        self._row = row

    def __getitem__(self, key: str) -> Any:
        value = self._chunk.attribute(key)[self._row]
        if value is None:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


class JudgedTrace(TailTrace):
    """A trace as far as it has arrived."""

    __slots__ = ()

    def __init__(self, spans: Sequence[JudgedSpan], root: JudgedSpan | None) -> None:
        super().__init__(spans, root)

    @property
    def operation(self) -> str:
        """Service and name of the root, since other services may use the name too; empty while it is not there."""
        return f"{self.root.service} {self.root.name}" if isinstance(self.root, JudgedSpan) else ""
