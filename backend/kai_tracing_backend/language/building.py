"""Queries made in Python, for APIs that ask with parameters instead of text."""

from __future__ import annotations

from kai_tracing_backend.language.nodes import (
    And,
    Comparison,
    Condition,
    Everything,
    Field,
    Filter,
    Literal,
    Or,
    Scope,
    TraceQuery,
)
from kai_tracing_backend.language.regex import check_regex
from kai_tracing_backend.language.vocabulary import ALIASES, INTRINSICS

__all__ = ["all_of", "any_of", "attribute", "compare", "intrinsic", "literal"]

_KINDS = {str: "string", bool: "bool", int: "int", float: "float", type(None): "nil"}


def all_of(*conditions: Condition) -> TraceQuery:
    """The traces with a span that fulfils all conditions; without any, all traces."""
    if not conditions:
        return TraceQuery(Filter(Everything()))
    return TraceQuery(Filter(conditions[0] if len(conditions) == 1 else And(conditions)))


def any_of(*conditions: Condition) -> Condition:
    """One of these, at least one of which is given."""
    return conditions[0] if len(conditions) == 1 else Or(conditions)


def attribute(name: str, scope: Scope = "") -> Field:
    """An attribute of a span, or with another scope of its resource, events, links or instrumentation.

    Without a scope it is the span's, or the resource's where the span has none of that name.
    """
    return Field(name, scope)


def intrinsic(name: str) -> Field:
    """What every span has, as the language calls it: "name", "duration", "rootServiceName".

    Raises:
        ValueError: there is nothing of this name.
    """
    name = ALIASES.get(name, name)
    if name not in INTRINSICS:
        raise ValueError(f"there is no {name}; there are {', '.join(INTRINSICS)}")
    return Field(name, "intrinsic")


def literal(value: str | bool | float | None) -> Literal:
    """A value of the language; None is `nil`."""
    return Literal(value, _KINDS[type(value)])  # type: ignore[arg-type]  # they are all kinds


def compare(field: Field | str, op: str, value: str | bool | float | None) -> Condition:
    """A condition: a field, or an intrinsic by its name, compared with a value.

    Durations are nanoseconds, statuses and kinds OTLP's numbers, as in `compare("status", "=", 2)`.

    Raises:
        ValueError: there is no such intrinsic or operator, the regular expression is none, or the types do not fit.
    """
    field = intrinsic(field) if isinstance(field, str) else field
    right = literal(value)
    if field.scope == "intrinsic" and isinstance(value, int) and INTRINSICS[field.name] in ("status", "kind"):
        right = Literal(value, INTRINSICS[field.name])
    condition = Comparison(field, op, right)
    if op in ("=~", "!~") and isinstance(value, str) and (wrong := check_regex(value)) is not None:
        raise ValueError(wrong)
    return condition
