"""A query as a tree. `str()` of a node is its text; parsing that gives an equal tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal as OneOf
from typing import TypeAlias

from kai_tracing_backend.language.vocabulary import ENUMS, UNITS, Kind

__all__ = [
    "Aggregate",
    "AggregateFilter",
    "And",
    "Arithmetic",
    "Coalesce",
    "Comparison",
    "Condition",
    "Everything",
    "Field",
    "Filter",
    "GroupBy",
    "Literal",
    "Not",
    "Or",
    "Select",
    "Spansets",
    "SpansetOperation",
    "Stage",
    "TraceQuery",
    "Value",
    "walk",
]

Scope: TypeAlias = OneOf["", "span", "resource", "event", "link", "instrumentation", "intrinsic"]

_PLAIN = re.compile(r"[^\s{}()=!~<>&|,\"`'+*^%\\]+")


@dataclass(frozen=True)
class Field:
    """Something that a span has.

    An attribute of one of its scopes ("" is the span's, or the resource's where the span has none of the name), or
    what every span has (scope "intrinsic", names as in `vocabulary.INTRINSICS`).
    """

    name: str
    scope: Scope = ""

    def __str__(self) -> str:
        if self.scope == "intrinsic":
            return self.name
        return f"{self.scope}.{self.name if _PLAIN.fullmatch(self.name) else quoted(self.name)}"


@dataclass(frozen=True)
class Literal:
    """A value. Durations are nanoseconds; statuses and kinds are OTLP's numbers; nil is None."""

    value: str | int | float | bool | None
    kind: Kind

    def __str__(self) -> str:
        if self.kind == "string":
            return quoted(str(self.value))
        if self.kind == "bool":
            return "true" if self.value else "false"
        if self.kind == "nil":
            return "nil"
        if self.kind == "duration":
            return _duration(int(self.value or 0))
        if self.kind in ("status", "kind"):
            return next(word for word, meant in ENUMS.items() if meant == (self.kind, self.value))
        return repr(self.value)


@dataclass(frozen=True)
class Arithmetic:
    """`left op right` with `+`, `-`, `*` or `/`, computed in double precision."""

    op: str
    left: Value
    right: Value

    def __str__(self) -> str:
        return f"({self.left} {self.op} {self.right})"


Value: TypeAlias = Field | Literal | Arithmetic


@dataclass(frozen=True)
class Comparison:
    """`left op right`."""

    left: Value
    op: str
    right: Value

    def __str__(self) -> str:
        return f"{self.left} {self.op} {self.right}"


@dataclass(frozen=True)
class And:
    """All of the conditions."""

    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return " && ".join(map(_grouped, self.parts))


@dataclass(frozen=True)
class Or:
    """One of the conditions, or more."""

    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return " || ".join(map(_grouped, self.parts))


@dataclass(frozen=True)
class Not:
    """Not the condition: also true where what it compares is not there."""

    part: Condition

    def __str__(self) -> str:
        return f"!({self.part})"


@dataclass(frozen=True)
class Everything:
    """What is true of every span."""

    def __str__(self) -> str:
        return "true"


Condition: TypeAlias = Comparison | And | Or | Not | Everything


@dataclass(frozen=True)
class Filter:
    """`{ condition }`: the spans of a trace that fulfil it."""

    condition: Condition = Everything()

    def __str__(self) -> str:
        return "{ }" if isinstance(self.condition, Everything) else f"{{ {self.condition} }}"


@dataclass(frozen=True)
class SpansetOperation:
    """Two spansets of a trace related: `&&`, `||`, or a structural operator such as `>>`."""

    op: str
    left: Spansets
    right: Spansets

    def __str__(self) -> str:
        sides = (f"({side})" if isinstance(side, SpansetOperation) else str(side) for side in (self.left, self.right))
        return f" {self.op} ".join(sides)


Spansets: TypeAlias = Filter | SpansetOperation


@dataclass(frozen=True)
class Aggregate:
    """A number that a spanset has: `count()`, or `avg`, `min`, `max` or `sum` of a value."""

    function: str
    value: Value | None = None

    def __str__(self) -> str:
        return f"{self.function}({'' if self.value is None else self.value})"


@dataclass(frozen=True)
class AggregateFilter:
    """Keeps the spansets whose aggregate compares so."""

    aggregate: Aggregate
    op: str
    right: Aggregate | Literal

    def __str__(self) -> str:
        return f"{self.aggregate} {self.op} {self.right}"


@dataclass(frozen=True)
class GroupBy:
    """Divides spansets by the values of fields."""

    fields: tuple[Field, ...]

    def __str__(self) -> str:
        return f"by({', '.join(map(str, self.fields))})"


@dataclass(frozen=True)
class Select:
    """Says what else of the spans is answered."""

    fields: tuple[Field, ...]

    def __str__(self) -> str:
        return f"select({', '.join(map(str, self.fields))})"


@dataclass(frozen=True)
class Coalesce:
    """Makes the spansets of a trace one again."""

    def __str__(self) -> str:
        return "coalesce()"


Stage: TypeAlias = Filter | AggregateFilter | GroupBy | Select | Coalesce


@dataclass(frozen=True)
class TraceQuery:
    """A query: which spans of a trace, and what then happens to them. A trace is found when some are left."""

    spansets: Spansets
    stages: tuple[Stage, ...] = ()

    def __str__(self) -> str:
        return " | ".join(map(str, (self.spansets, *self.stages)))


def walk(node: object) -> Iterator[tuple[object, int]]:
    """A node and all below it, each with its depth (1 for the node itself)."""
    waiting: list[tuple[object, int]] = [(node, 1)]
    while waiting:
        current, depth = waiting.pop()
        if isinstance(current, tuple):
            waiting += [(part, depth) for part in reversed(current)]
        elif hasattr(current, "__dataclass_fields__"):
            yield current, depth
            parts = [getattr(current, field.name) for field in fields(current)]  # type: ignore[arg-type]  # it is one
            waiting += [(part, depth + 1) for part in reversed(parts)]


def quoted(text: str) -> str:
    """The text as a string of the language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'


def _grouped(part: Condition) -> str:
    return f"({part})" if isinstance(part, (And, Or)) else str(part)


def _duration(nanoseconds: int) -> str:
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    unit = next(unit for unit, size in UNITS.items() if unit == "ns" or (rest and rest % size == 0))
    return f"{sign}{rest // UNITS[unit]}{unit}"
