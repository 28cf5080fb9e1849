"""A query asked of one trace: what every store's search must agree with, and what live tail uses."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kai_tracing_backend.language.nodes import (
    Aggregate,
    AggregateFilter,
    And,
    Coalesce,
    Comparison,
    Condition,
    Everything,
    Field,
    Filter,
    GroupBy,
    Literal,
    Not,
    Or,
    Select,
    Spansets,
    TraceQuery,
    walk,
)
from kai_tracing_backend.language.structure import related
from kai_tracing_backend.language.trace import Trace
from kai_tracing_backend.language.values import compares, field_values, number_of
from kai_tracing_backend.model import FoundTrace, MatchedSpan, SpanSet, StoredSpan
from kai_tracing_backend.values import Value

__all__ = ["Found", "answered", "evaluate", "find", "holds", "matching"]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True)
class Found:
    """A set of a trace's spans, by their indices."""

    indices: Sequence[int]
    attributes: dict[str, Value] = field(default_factory=dict)


def find(query: TraceQuery, spans: Sequence[StoredSpan], spans_per_set: int = 3) -> FoundTrace | None:
    """What the query finds in a trace, given all its spans; None where it finds nothing."""
    trace = Trace(spans)
    sets = evaluate(query, trace)
    return FoundTrace(trace.summary(), answered(query, trace, sets, spans_per_set)) if sets else None


def evaluate(query: TraceQuery, trace: Trace, select: Callable[[Filter], set[int]] | None = None) -> list[Found]:
    """The sets of spans that the query finds in a trace.

    `select` gives the spans that a filter before the first `|` selects, where somebody knows them already.
    """
    spans = _selected(query.spansets, trace, select or (lambda leaf: matching(leaf, trace)))
    sets = [Found(sorted(spans))] if spans else []
    for stage in query.stages:
        sets = list(_STAGES[type(stage)](stage, sets, trace))
    return sets


def answered(query: TraceQuery, trace: Trace, sets: Sequence[Found], spans_per_set: int) -> list[SpanSet]:
    """The sets as a search answers them."""
    fields = _named_fields(query)
    return [
        SpanSet(
            len(one.indices),
            [_answered_span(fields, trace, index) for index in one.indices[:spans_per_set]],
            one.attributes,
        )
        for one in sets
    ]


def _named_fields(query: TraceQuery) -> list[Field]:
    """The fields that a query names, but those that every answer has."""
    found = (node for node, _ in walk(query) if isinstance(node, Field))
    return [one for one in dict.fromkeys(found) if str(one) not in _ANSWERED]


_ANSWERED = ("name", "status", "kind", "duration", "span:id", "span:parentID", "trace:id")


def _answered_span(fields: Sequence[Field], trace: Trace, index: int) -> MatchedSpan:
    span = trace.spans[index]
    attributes = {str(one): _as_one(values) for one in fields if (values := field_values(one, trace, index))}
    return MatchedSpan(
        span.span_id,
        span.parent_id,
        span.name,
        span.service,
        span.start_time,
        span.duration,
        span.kind,
        span.status,
        attributes,
    )


def _as_one(values: list[Value]) -> Value:
    return values[0] if len(values) == 1 else values or None


# -- conditions --------------------------------------------------------------------------------------------------------


def matching(leaf: Filter, trace: Trace) -> set[int]:
    """The spans that a filter selects."""
    return {index for index in range(len(trace.spans)) if holds(leaf.condition, trace, index)}


def holds(condition: Condition, trace: Trace, index: int) -> bool:
    """Whether a condition is true of a span."""
    if isinstance(condition, Comparison):
        return compares(condition, trace, index)
    if isinstance(condition, And):
        return all(holds(part, trace, index) for part in condition.parts)
    if isinstance(condition, Or):
        return any(holds(part, trace, index) for part in condition.parts)
    if isinstance(condition, Not):
        return not holds(condition.part, trace, index)
    return isinstance(condition, Everything)


def _selected(node: Spansets, trace: Trace, select: Callable[[Filter], set[int]]) -> set[int]:
    if isinstance(node, Filter):
        return select(node)
    left, right = _selected(node.left, trace, select), _selected(node.right, trace, select)
    if node.op == "||":
        return left | right
    if node.op == "&&":
        return left | right if left and right else set()
    return related(node.op, left, right, trace)


# -- stages ------------------------------------------------------------------------------------------------------------


def _filter(stage: Filter, sets: list[Found], trace: Trace) -> Iterable[Found]:
    for one in sets:
        if indices := [index for index in one.indices if holds(stage.condition, trace, index)]:
            yield Found(indices, one.attributes)


def _group(stage: GroupBy, sets: list[Found], trace: Trace) -> Iterable[Found]:
    for one in sets:
        groups: dict[str, tuple[dict[str, Value], list[int]]] = {}
        for index in one.indices:
            values = {str(by): _as_one(field_values(by, trace, index)) for by in stage.fields}
            groups.setdefault(repr(list(values.values())), (values, []))[1].append(index)
        for values, indices in groups.values():
            yield Found(indices, {**one.attributes, **values})


def _compare(stage: AggregateFilter, sets: list[Found], trace: Trace) -> Iterable[Found]:
    for one in sets:
        left = _aggregate(stage.aggregate, one.indices, trace)
        right = stage.right.value if isinstance(stage.right, Literal) else _aggregate(stage.right, one.indices, trace)
        if left is not None and right is not None and _OPERATORS[stage.op](left, right):
            yield Found(one.indices, {**one.attributes, str(stage.aggregate): left})


def _coalesce(stage: object, sets: list[Found], trace: Trace) -> Iterable[Found]:
    if sets:
        yield Found(sorted({index for one in sets for index in one.indices}))


def _select(stage: Select, sets: list[Found], trace: Trace) -> Iterable[Found]:
    return sets


_STAGES: dict[type, Callable[..., Iterable[Found]]] = {
    Filter: _filter,
    GroupBy: _group,
    AggregateFilter: _compare,
    Coalesce: _coalesce,
    Select: _select,
}


def _aggregate(node: Aggregate, indices: Sequence[int], trace: Trace) -> int | float | None:
    """A number of a set of spans; None for one of values that no span has."""
    if node.value is None:
        return len(indices)
    numbers = [number for index in indices if (number := number_of(node.value, trace, index)) is not None]
    if not numbers:
        return None
    return _AGGREGATES[node.function](numbers)


_AGGREGATES: dict[str, Callable[[list[int | float]], int | float]] = {
    "avg": lambda numbers: sum(numbers) / len(numbers),
    "min": min,
    "max": max,
    "sum": sum,
}
