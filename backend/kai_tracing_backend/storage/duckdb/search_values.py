"""Values of the query language as SQL over a row of `spans`: of each what it is as a text, a number, true or false.

What a value is depends on the span, so each becomes an expression for every type that it may have, NULL where the span
has it in another. What is in arrays, events and links, and what a trace is as a whole, is not said of a row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from kai_tracing_backend.columns import MAPS, PROMOTED
from kai_tracing_backend.language.nodes import Arithmetic, Comparison, Field, Literal
from kai_tracing_backend.language.nodes import Value as ValueNode
from kai_tracing_backend.language.values import scalars
from kai_tracing_backend.storage.duckdb.expressions import Bounds, Expressions, joined
from kai_tracing_backend.values import Value, load_attributes

__all__ = ["SQL", "SearchValues", "Typed", "number", "resource_attribute", "scope_attribute", "scope_part"]

SQL = {"!=": "<>", **{op: op for op in ("=", ">", ">=", "<", "<=")}}
"""The operators that SQL has, too."""

_TYPES: Mapping[type, str] = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN"}


class Typed(NamedTuple):
    """What a value is, by types; None where it is never of the type."""

    text: str | None = None
    whole: str | None = None
    double: str | None = None
    truth: str | None = None
    unsaid: str = "FALSE"
    """True of every span of which it is more, or something else, than these say."""


_UNSAID = Typed(unsaid="TRUE")
_COLUMNS = {
    "name": Typed(text="name"),
    "statusMessage": Typed(text="status_message"),
    "duration": Typed(whole="duration"),
    "status": Typed(whole="status::BIGINT"),
    "kind": Typed(whole="kind::BIGINT"),
    "nestedSetParent": Typed(whole="CASE WHEN parent_id = 0 THEN -1 ELSE 1 END"),
    "trace:id": Typed(text="printf('%016x%016x', trace_high, trace_low)"),
    "span:id": Typed(text="printf('%016x', span_id)"),
    "span:parentID": Typed(text="CASE WHEN parent_id <> 0 THEN printf('%016x', parent_id) END"),
}


class SearchValues(Expressions):
    """Makes expressions for the spans of one file; `parameters` are those of all that were made.

    `resources` and `scopes` are the texts of the file's by their number: few, and looked at here.
    """

    def __init__(self, resources: Callable[[], Mapping[int, str]], scopes: Callable[[], Mapping[int, str]]) -> None:
        super().__init__()
        self._resources = resources
        self._scopes = scopes

    def two_compared(self, node: Comparison) -> Bounds:
        """A comparison of values of any kind, but with nil and with a regular expression."""
        left, right = self.typed(node.left), self.typed(node.right)
        pairs = [(left.text, right.text), (left.truth, right.truth), (left.whole, right.whole)]
        pairs += [(left.double, right.double), (_doubled(left), right.double), (left.double, _doubled(right))]
        terms = [f"{a} {SQL[node.op]} {b}" for a, b in pairs if a is not None and b is not None]
        sure = joined("OR", "FALSE", terms)
        return Bounds(sure, joined("OR", "FALSE", [sure, left.unsaid, right.unsaid]))

    def typed(self, node: ValueNode) -> Typed:
        """A value by types."""
        if isinstance(node, Literal):
            return self._literal(node)
        if isinstance(node, Arithmetic):
            left, right = self.typed(node.left), self.typed(node.right)
            numbers = number(left), number(right)
            unsaid = joined("OR", "FALSE", [left.unsaid, right.unsaid])
            if numbers[0] is None or numbers[1] is None:
                return Typed(unsaid=unsaid)
            divisor = f"nullif({numbers[1]}, 0)" if node.op == "/" else numbers[1]
            return Typed(double=f"nullif({numbers[0]} {node.op} {divisor}, 'nan'::DOUBLE)", unsaid=unsaid)
        return self._field(node)

    def _literal(self, node: Literal) -> Typed:
        value = node.value
        if value is None:
            return Typed()
        named = f"{self.value(value)}::{_TYPES[type(value)]}"
        return Typed(**{_NAMES[type(value)]: named})

    def _field(self, field: Field) -> Typed:
        name, scope = field.name, field.scope
        if scope == "intrinsic" and name in ("instrumentation:name", "instrumentation:version"):
            return self._listed("scope", self._scopes(), scope_part, name)
        if scope == "intrinsic":
            return _COLUMNS.get(name, _UNSAID)
        if name == "service.name" and scope in ("", "resource"):
            return Typed(text="service")
        if scope == "resource":
            return self._listed("resource", self._resources(), resource_attribute, name)
        if scope == "instrumentation":
            return self._listed("scope", self._scopes(), scope_attribute, name)
        if scope == "span":
            return self._attribute(name)
        return self._unscoped_value(name) if scope == "" else _UNSAID

    def _attribute(self, key: str) -> Typed:
        return Typed(
            text=self.attribute(key, str),
            whole=self.attribute(key, int),
            double=f"nullif({self.attribute(key, float)}, 'nan'::DOUBLE)",
            truth=self.attribute(key, bool),
            unsaid=self.array(key),
        )

    def _unscoped_value(self, key: str) -> Typed:
        """The span's, or where it has none the resource's."""
        of_span = self._attribute(key)
        of_resource = self._listed("resource", self._resources(), resource_attribute, key)
        if of_resource == Typed():
            return of_span
        there = self.there(key)

        def chosen(own: str | None, shared: str | None) -> str | None:
            return own if shared is None else f"CASE WHEN {there} THEN {own} ELSE {shared} END"

        return Typed(
            chosen(of_span.text, of_resource.text),
            chosen(of_span.whole, of_resource.whole),
            chosen(of_span.double, of_resource.double),
            chosen(of_span.truth, of_resource.truth),
            joined("OR", "FALSE", [of_span.unsaid, of_resource.unsaid]),
        )

    def _listed(self, column: str, texts: Mapping[int, str], value_of: Callable[[str, str], Value], key: str) -> Typed:
        """What resources and scopes have, as lists by their number."""
        values = {number: value_of(text, key) for number, text in texts.items()}
        values = {number: value for number, value in values.items() if value is not None}
        found: dict[str, str] = {}
        for kind, name in _NAMES.items():
            of_kind = {number: value for number, value in values.items() if type(value) is kind and _comparable(value)}
            if of_kind:
                by_number = [of_kind.get(number) for number in range(max(of_kind) + 1)]
                found[name] = f"({self.value(by_number)}::{_TYPES[kind]}[])[{column} + 1]"
        arrays = [number for number, value in values.items() if isinstance(value, list)]
        return Typed(**found, unsaid=self.one_of(column, arrays) if arrays else "FALSE")

    # -- attributes of the span --------------------------------------------------------------------------------------

    def there(self, key: str) -> str:
        """The span has the attribute. `{}` is how nothing is kept."""
        columns = [f'"{key}"'] if key in PROMOTED else []
        columns += [f"{column}[{self.value(key)}]" for column in MAPS.values()]
        typed = " OR ".join(f"{column} IS NOT NULL" for column in columns)
        return f"({typed} OR attributes_other[{self.value(key)}] <> '{{}}')"

    def array(self, key: str) -> str:
        """The attribute is an array."""
        return f"coalesce(attributes_other[{self.value(key)}] LIKE '{{\"arrayValue%', FALSE)"


_NAMES: Mapping[type, str] = {str: "text", int: "whole", float: "double", bool: "truth"}


def number(typed: Typed) -> str | None:
    """The value as a double; None where it is never a number."""
    parts = [part for part in (_doubled(typed), typed.double) if part is not None]
    return parts[0] if len(parts) == 1 else f"coalesce({', '.join(parts)})" if parts else None


def _doubled(typed: Typed) -> str | None:
    return typed.whole and f"({typed.whole})::DOUBLE"


def _comparable(value: Value) -> bool:
    return any(True for _ in scalars([value]))


# -- resources and scopes, as they are kept ----------------------------------------------------------------------------


@lru_cache(maxsize=20_000)
def _loaded(text: str) -> Mapping[str, Value]:
    return load_attributes(text)


@lru_cache(maxsize=20_000)
def _parts(text: str) -> list[str]:
    found: list[str] = json.loads(text)
    return found


def resource_attribute(text: str, key: str) -> Value:
    """An attribute of a resource."""
    return _loaded(_parts(text)[0]).get(key)


def scope_attribute(text: str, key: str) -> Value:
    """An attribute of an instrumentation scope."""
    return _loaded(_parts(text)[2]).get(key)


def scope_part(text: str, name: str) -> Value:
    """The name or the version of an instrumentation scope."""
    return _parts(text)[0 if name == "instrumentation:name" else 1] or None
