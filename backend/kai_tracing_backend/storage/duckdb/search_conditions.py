"""Conditions of the query language as SQL over a row of `spans`: constant fragments, every value a parameter.

Not everything can be said of a row: what is in arrays, events and links is text there, and what a trace is as a whole
is in other rows. So each condition becomes two expressions: what is true of a span only if the condition is (`sure`),
and what is true of every span of which the condition is (`maybe`). Where they differ `language.evaluation` decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from kai_tracing_backend.language.nodes import (
    And,
    Comparison,
    Condition,
    Everything,
    Field,
    Literal,
    Not,
)
from kai_tracing_backend.language.values import fits, id_text, scalars
from kai_tracing_backend.language.vocabulary import ID_DIGITS
from kai_tracing_backend.storage.duckdb.expressions import Bounds, joined, negated
from kai_tracing_backend.storage.duckdb.search_values import (
    SQL,
    SearchValues,
    resource_attribute,
    scope_attribute,
    scope_part,
)
from kai_tracing_backend.values import Value

__all__ = ["Plain", "SearchConditions", "as_plain", "fewest_children"]

_FLIPPED = {"=": "=", "!=": "!=", ">": "<", ">=": "<=", "<": ">", "<=": ">="}
_HEX = re.compile(r"[0-9a-f]+")
_LITERALS = re.compile(r"[\w /:@-]+(\|[\w /:@-]+){0,30}")  # a regular expression that lists texts
_COLUMNS = {
    "name": "name",
    "statusMessage": "status_message",
    "duration": "duration",
    "status": "status",
    "kind": "kind",
}
_CHILDREN = Field("span:childCount", "intrinsic")
_NUMBER = ("int", "float", "duration")


class Plain(NamedTuple):
    """A field compared with a literal."""

    field: Field
    op: str
    literal: Literal


_TRUE = Bounds("TRUE", "TRUE")
_FALSE = Bounds("FALSE", "FALSE")
_UNKNOWN = Bounds("FALSE", "TRUE")


class SearchConditions(SearchValues):
    """Makes expressions of conditions for the spans of one file."""

    def bounds(self, condition: Condition) -> Bounds:
        """The two expressions of a condition. NULL is false."""
        if isinstance(condition, Comparison):
            return self._comparison(condition)
        if isinstance(condition, Everything):
            return _TRUE
        if isinstance(condition, Not):
            sure, maybe = self.bounds(condition.part)
            return Bounds(negated(maybe), negated(sure))
        parts = [self.bounds(part) for part in condition.parts]
        return _all(*parts) if isinstance(condition, And) else _any(*parts)

    def _comparison(self, node: Comparison) -> Bounds:
        if (plain := as_plain(node)) is None:
            return _UNKNOWN if node.op in ("=~", "!~") or _names_nil(node) else self.two_compared(node)
        scope = plain.field.scope
        if scope == "intrinsic":
            return self._intrinsic(plain)
        if plain.field.name == "service.name" and scope in ("", "resource"):
            return self.column("service", plain)
        if scope == "resource":
            return self._of_resource(plain)
        if scope == "instrumentation":
            return self._shared("scope", self._scopes(), scope_attribute, plain)
        if scope in ("event", "link"):
            return self._inside("events" if scope == "event" else "links", plain)
        return self._span_attribute(plain) if scope == "span" else self._unscoped(plain)

    # -- what every span has -----------------------------------------------------------------------------------------

    def _intrinsic(self, plain: Plain) -> Bounds:
        name = plain.field.name
        if name in _COLUMNS:
            return self.column(_COLUMNS[name], plain)
        if name in ("instrumentation:name", "instrumentation:version"):
            return self._shared("scope", self._scopes(), scope_part, plain)
        if name == "nestedSetParent":
            return self.column("CASE WHEN parent_id = 0 THEN -1 ELSE 1 END", plain)
        if name in ("trace:id", "span:id", "span:parentID"):
            return self._id(plain)
        if name.startswith(("event:", "link:")):
            return self._inside("events" if name.startswith("event:") else "links", plain)
        return _UNKNOWN

    def column(self, column: str, plain: Plain) -> Bounds:
        """A column that is never NULL."""
        _, op, literal = plain
        if literal.kind == "nil":
            return _TRUE if op == "!=" else _FALSE
        if literal.kind == "float":
            column = f"{column}::DOUBLE"
        return _exactly(self.compared(column, op, literal.value))

    def _id(self, plain: Plain) -> Bounds:
        field, op, literal = plain
        there = "parent_id <> 0" if field.name == "span:parentID" else "TRUE"
        if literal.kind == "nil":
            return _exactly(there if op == "!=" else negated(there))
        if op not in ("=", "!="):
            return Bounds("FALSE", there)
        text = str(id_text(literal.value, field))
        if len(text) > ID_DIGITS[field.name] or not _HEX.fullmatch(text):
            same = "FALSE"
        elif field.name == "trace:id":
            number = int(text, 16)
            halves = {"trace_high": number >> 64, "trace_low": number & (1 << 64) - 1}
            same = " AND ".join(f"{column} = {self.value(half)}::UBIGINT" for column, half in halves.items())
        else:
            column = "span_id" if field.name == "span:id" else "parent_id"
            same = f"{column} = {self.value(int(text, 16))}::UBIGINT"
        return _exactly(f"{there} AND {same if op == '=' else negated(same)}")

    # -- attributes of the span --------------------------------------------------------------------------------------

    def _span_attribute(self, plain: Plain) -> Bounds:
        (key, op, literal) = plain.field.name, plain.op, plain.literal
        if literal.kind == "nil":
            there = self.there(plain.field.name)
            return _exactly(there if op == "!=" else negated(there))
        if literal.kind in _NUMBER:
            whole = self.attribute(key, int)
            whole = f"{whole}::DOUBLE" if literal.kind == "float" else whole
            number = float(literal.value or 0)
            double = f"nullif({self.attribute(key, float)}, 'nan'::DOUBLE)"
            sure = f"({self.compared(whole, op, literal.value)} OR {self.compared(double, op, number)})"
        else:
            kind = bool if literal.kind == "bool" else str
            sure = self.compared(self.attribute(key, kind), op, literal.value)
        return Bounds(sure, joined("OR", "FALSE", [sure, self.array(key)]))

    def _unscoped(self, plain: Plain) -> Bounds:
        """The span's, or where it has none the resource's."""
        of_span = self._span_attribute(plain)
        of_resource = self._of_resource(plain)
        if plain.literal.kind == "nil" and plain.op == "=":
            return _all(of_span, of_resource)
        if of_resource == _FALSE:
            return of_span
        absent = _exactly(negated(self.there(plain.field.name)))
        return _any(of_span, _all(absent, of_resource))

    # -- what is text ------------------------------------------------------------------------------------------------

    def _of_resource(self, plain: Plain) -> Bounds:
        return self._shared("resource", self._resources(), resource_attribute, plain)

    def _shared(
        self, column: str, texts: Mapping[int, str], value_of: Callable[[str, str], Value], plain: Plain
    ) -> Bounds:
        """Resources and scopes: which of them fit is known before a span is looked at."""
        fitting = [number for number, text in texts.items() if _fits(value_of(text, plain.field.name), plain)]
        if len(fitting) in (0, len(texts)):
            return _TRUE if fitting else _FALSE
        return _exactly(self.one_of(column, fitting))

    def _inside(self, column: str, plain: Plain) -> Bounds:
        """Events and links, whose text must contain what is looked for."""
        field, op, literal = plain
        if literal.kind == "nil" and op == "=":
            return _UNKNOWN
        needed = [json.dumps(field.name, ensure_ascii=False) + ":"] if field.scope != "intrinsic" else []
        if op == "=" and literal.kind == "string":
            needed.append(json.dumps(id_text(literal.value, field), ensure_ascii=False))
        terms = [f"{column} IS NOT NULL", *(f"contains({column}, {self.value(text)})" for text in needed)]
        return Bounds("FALSE", f"({' AND '.join(terms)})")

    def texts_of_span(self, condition: Condition) -> list[tuple[str, str]]:
        """Attributes of the span with texts, one of which a span has that fulfils it; empty where that is not known."""
        plain = as_plain(condition) if isinstance(condition, Comparison) else None
        if plain is None or plain.field.scope not in ("", "span") or not isinstance(plain.literal.value, str):
            return []
        key, text = plain.field.name, plain.literal.value
        if plain.field.scope == "" and (key == "service.name" or self._of_resource(plain) != _FALSE):
            return []
        if plain.op == "=":
            return [(key, text)]
        return [(key, one) for one in text.split("|")] if plain.op == "=~" and _LITERALS.fullmatch(text) else []

    # -- parameters --------------------------------------------------------------------------------------------------

    def compared(self, column: str, op: str, value: object) -> str:
        """A comparison of the language, of an expression with a value of the same type."""
        if op in ("=~", "!~"):
            fitting = f"regexp_full_match({column}, {self.value(value)})"
            return fitting if op == "=~" else f"NOT {fitting}"
        return f"{column} {SQL[op]} {self.value(value)}{_CASTS.get(type(value), '')}"


_CASTS = {int: "::BIGINT", float: "::DOUBLE"}


def as_plain(node: Comparison) -> Plain | None:
    """The comparison with its field on the left; None where it is not one field and one literal."""
    if isinstance(node.left, Field) and isinstance(node.right, Literal):
        return Plain(node.left, node.op, node.right)
    if isinstance(node.left, Literal) and isinstance(node.right, Field) and node.op in _FLIPPED:
        return Plain(node.right, _FLIPPED[node.op], node.left)
    return None


def _names_nil(node: Comparison) -> bool:
    return any(isinstance(side, Literal) and side.kind == "nil" for side in (node.left, node.right))


def _fits(value: Value, plain: Plain) -> bool:
    if plain.literal.kind == "nil":
        return (value is not None) == (plain.op == "!=")
    return value is not None and fits(list(scalars([value])), plain.op, [plain.literal.value])


def fewest_children(condition: Condition) -> int:
    """How many children a span that fulfils it has at least."""
    if isinstance(condition, And):
        return max(map(fewest_children, condition.parts))
    if not isinstance(condition, Comparison) or (plain := as_plain(condition)) is None or plain.field != _CHILDREN:
        return 0
    value = plain.literal.value
    if not isinstance(value, (int, float)) or plain.op not in (">", ">=", "="):
        return 0
    return min(max(0, int(value)), 1 << 62)


# -- expressions put together ------------------------------------------------------------------------------------------


def _exactly(text: str) -> Bounds:
    return Bounds(text, text)


def _all(*parts: Bounds) -> Bounds:
    return Bounds(joined("AND", "TRUE", [part.sure for part in parts]), joined("AND", "TRUE", [p.maybe for p in parts]))


def _any(*parts: Bounds) -> Bounds:
    return Bounds(joined("OR", "FALSE", [part.sure for part in parts]), joined("OR", "FALSE", [p.maybe for p in parts]))
