"""What a field is of a span, and how values compare."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kai_tracing_backend.language.nodes import Arithmetic, Comparison, Field, Literal
from kai_tracing_backend.language.nodes import Value as ValueNode
from kai_tracing_backend.language.regex import full_match
from kai_tracing_backend.language.trace import Trace
from kai_tracing_backend.language.vocabulary import ID_DIGITS
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.values import Value

__all__ = ["compares", "field_values", "fits", "id_text", "number_of", "scalars"]

_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=~": lambda text, pattern: full_match(pattern, text),
}
_COMPUTED: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda left, right: left / right if right else math.nan,
}
_OF_SPAN: dict[str, Callable[[StoredSpan], Value]] = {
    "name": lambda span: span.name,
    "status": lambda span: span.status,
    "statusMessage": lambda span: span.status_message,
    "kind": lambda span: span.kind,
    "duration": lambda span: span.duration,
    "span:id": lambda span: span.span_id,
    "span:parentID": lambda span: span.parent_id,
    "nestedSetParent": lambda span: -1 if span.parent_id is None else 1,
    "trace:id": lambda span: span.trace_id,
    "instrumentation:name": lambda span: span.scope.name or None,
    "instrumentation:version": lambda span: span.scope.version or None,
}
_OF_TRACE: dict[str, Callable[[Trace, int], Value]] = {
    "span:childCount": lambda trace, index: trace.child_counts[index],
    "traceDuration": lambda trace, _: trace.duration,
    "rootName": lambda trace, _: None if trace.root is None else trace.root.name,
    "rootServiceName": lambda trace, _: None if trace.root is None else trace.root.service,
}


def field_values(field: Field, trace: Trace, index: int) -> list[Value]:
    """What a field is of a span: nothing, one value, or one for each event or link that has it. None is nothing."""
    span = trace.spans[index]
    if field.scope == "intrinsic":
        found = _intrinsic(field.name, trace, index)
    elif field.scope == "event":
        found = [event.attributes.get(field.name) for event in span.events]
    elif field.scope == "link":
        found = [link.attributes.get(field.name) for link in span.links]
    else:
        found = [_attribute(field, span)]
    return [value for value in found if value is not None]


def _intrinsic(name: str, trace: Trace, index: int) -> list[Value]:
    span = trace.spans[index]
    if (of_span := _OF_SPAN.get(name)) is not None:
        return [of_span(span)]
    if (of_trace := _OF_TRACE.get(name)) is not None:
        return [of_trace(trace, index)]
    if name == "event:name":
        return [event.name for event in span.events]
    if name == "event:timeSinceStart":
        return [event.time - span.start_time for event in span.events]
    return [link.trace_id if name == "link:traceID" else link.span_id for link in span.links]


def _attribute(field: Field, span: StoredSpan) -> Value:
    if field.name == "service.name" and field.scope in ("", "resource"):
        return span.service
    if field.scope == "resource":
        return span.resource.get(field.name)
    if field.scope == "instrumentation":
        return span.scope.attributes.get(field.name)
    found = span.attributes.get(field.name)
    return span.resource.get(field.name) if found is None and field.scope == "" else found


def compares(comparison: Comparison, trace: Trace, index: int) -> bool:
    """Whether the comparison is true of a span.

    Values of different types are never compared. Of an array (or of several events) one element has to fulfil `=`,
    `=~` or an order; `!=` and `!~` are true when there are comparable elements and none is equal.
    """
    left, op, right = comparison.left, comparison.op, comparison.right
    if _nil(left) or _nil(right):
        field = right if _nil(left) else left
        there = isinstance(field, Field) and bool(field_values(field, trace, index))
        return there == (op == "!=")
    lefts = _operand(left, right, trace, index)
    rights = _operand(right, left, trace, index)
    return fits(lefts, op, rights)


def fits(lefts: Sequence[Any], op: str, rights: Sequence[Any]) -> bool:
    """Whether the values of two sides compare so; see `compares`."""
    pairs = [(a, b) for a in lefts for b in rights if _group(a) == _group(b)]
    negated = op in ("!=", "!~")
    positive = _ORDERED["=" + op[1:] if op == "!~" else "=" if negated else op]
    found = any(positive(*_alike(a, b)) for a, b in pairs)
    return bool(pairs) and not found if negated else found


def _nil(node: ValueNode) -> bool:
    return isinstance(node, Literal) and node.kind == "nil"


def _operand(node: ValueNode, other: ValueNode, trace: Trace, index: int) -> list[Any]:
    """The comparable values of one side."""
    if isinstance(node, Literal):
        return [id_text(node.value, other)]
    if isinstance(node, Arithmetic):
        found = number_of(node, trace, index)
        return [] if found is None else [found]
    return list(scalars(field_values(node, trace, index)))


def id_text(value: Any, compared_with: ValueNode) -> Any:
    """A literal as it is compared: an id has all its digits, in lower case."""
    if isinstance(compared_with, Field) and compared_with.scope == "intrinsic" and isinstance(value, str):
        digits = ID_DIGITS.get(compared_with.name)
        return value.lower().zfill(digits) if digits else value
    return value


def scalars(values: Iterable[Value]) -> Iterable[str | bool | int | float]:
    """What of the values can be compared: of an array its elements, and nothing of what is nested, bytes or NaN."""
    for value in values:
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, (str, bool, int)) or (isinstance(one, float) and not math.isnan(one)):
                yield one


def _group(value: Any) -> type:
    return float if type(value) is int else type(value)


def _alike(left: Any, right: Any) -> tuple[Any, Any]:
    """An integer and a double are compared as doubles."""
    if type(left) is not type(right):
        return float(left), float(right)
    return left, right


def number_of(node: ValueNode, trace: Trace, index: int) -> int | float | None:
    """The number that a value is of a span; None where it is none, or several."""
    if isinstance(node, Literal):
        found = [node.value]
    elif isinstance(node, Field):
        found = list(scalars(field_values(node, trace, index)))
    else:
        left, right = number_of(node.left, trace, index), number_of(node.right, trace, index)
        if left is None or right is None:
            return None
        result = _COMPUTED[node.op](float(left), float(right))
        return None if math.isnan(result) else result
    if len(found) != 1 or isinstance(found[0], bool) or not isinstance(found[0], (int, float)):
        return None
    return found[0]
