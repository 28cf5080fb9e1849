"""What a query demands of a trace as a whole, as SQL over the group of its spans: constant fragments, as in conditions.

`{ A } && { B }` needs a span that may pass A and one that may pass B, `| count() > 3` four that may be found, and
`traceDuration > 5s` is said of all spans together. A trace that is not so is not looked at, however many of its spans
would do. Nothing here decides what is found: that is `language.evaluation`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kai_tracing_backend.columns import SHARED
from kai_tracing_backend.language.nodes import (
    AggregateFilter,
    And,
    Comparison,
    Condition,
    Field,
    Filter,
    Literal,
    Or,
    SpansetOperation,
    Spansets,
    TraceQuery,
    walk,
)
from kai_tracing_backend.storage.duckdb.expressions import joined, negated
from kai_tracing_backend.storage.duckdb.search_conditions import SearchConditions, as_plain

__all__ = ["Demands", "found_by"]

_WHOLE = ("traceDuration", "rootName", "rootServiceName")
_ROOT = {"rootName": "name", "rootServiceName": "service"}
_ROOTED = "bool_or(parent_id = 0)"
_NOT_BELOW = {">": ">=", ">=": ">=", "<": "<=", "<=": "<="}
_EXACT = 1 << 53  # above it a mean of integers may be rounded to more than the largest of them


class Demands:
    """Makes the expressions.

    `conditions` makes what they say of single spans, and has the parameters of both. `maybe` is true of every span that
    a filter before the first `|` selects.
    """

    def __init__(self, conditions: SearchConditions, maybe: Mapping[Filter, str]) -> None:
        self._conditions = conditions
        self._maybe = maybe

    def of(self, query: TraceQuery, found: str) -> str:
        """True of the spans of every trace in which the query finds something; TRUE where a span that is `found` does.

        `found` is an expression over rows: true of every span that the query may find.
        """
        terms = [] if _asks_single_spans(query.spansets) else [self._spansets(query.spansets)]
        for stage in query.stages:
            if isinstance(stage, Filter):
                terms.append(self._whole(stage.condition))
            elif isinstance(stage, AggregateFilter):
                terms += self._aggregate(stage, found)
        return joined("AND", "TRUE", terms)

    def _spansets(self, node: Spansets) -> str:
        if isinstance(node, Filter):
            return joined("AND", "TRUE", [_one_is(self._maybe[node]), self._whole(node.condition)])
        if node.op[0] == "!":  # finds spans of the right side, whether there are any of the left or not
            return self._spansets(node.right)
        sides = [self._spansets(node.left), self._spansets(node.right)]
        if node.op == "||":
            return joined("OR", "FALSE", sides)
        return joined("AND", "TRUE", [*sides, self._related(node)])

    def _related(self, node: SpansetOperation) -> str:
        """A span of the one side may be the parent of one of the other: its id is named there.

        The half that a server adds to a client's span (B3) has its id, and is its child.
        """
        op = node.op.removeprefix("&")
        if op not in (">", "<"):
            return "TRUE"
        sides = [
            joined("OR", "FALSE", [self._maybe[leaf] for leaf in found_by(side)]) for side in (node.left, node.right)
        ]
        above, below = sides if op == ">" else reversed(sides)
        parents, named = f"list(span_id) FILTER ({above})", f"list(parent_id) FILTER ({below})"
        halves = f"list(span_id) FILTER (({below}) AND flags & {SHARED} <> 0)"
        return f"(list_has_any({parents}, {named}) OR list_has_any({parents}, {halves}))"

    def _part(self, condition: Condition) -> str:
        """One of the spans may fulfil it."""
        return joined("AND", "TRUE", [_one_is(self._conditions.bounds(condition).maybe), self._whole(condition)])

    def _whole(self, condition: Condition) -> str:
        """What a condition says of the trace, whichever span it is asked of."""
        if isinstance(condition, And):
            return joined("AND", "TRUE", [self._whole(part) for part in condition.parts])
        if isinstance(condition, Or) and any(_is_whole(node) for node, _ in walk(condition)):
            return joined("OR", "FALSE", [self._part(part) for part in condition.parts])
        if (
            not isinstance(condition, Comparison)
            or (plain := as_plain(condition)) is None
            or not _is_whole(plain.field)
        ):
            return "TRUE"
        if plain.field.name == "traceDuration":
            return self._conditions.column("(max(start_time + duration) - min(start_time))", plain).maybe
        if plain.literal.kind == "nil":
            return _ROOTED if plain.op == "!=" else negated(_ROOTED)
        return _one_is(f"parent_id = 0 AND {self._conditions.column(_ROOT[plain.field.name], plain).maybe}")

    def _aggregate(self, stage: AggregateFilter, found: str) -> Iterator[str]:
        """What `| count() > 3`, or one about durations and other numbers, says of the spans that may be found."""
        function, value, op, right = stage.aggregate.function, stage.aggregate.value, stage.op, stage.right
        if not isinstance(right, Literal):
            return
        if function == "count" and op in (">", ">=", "="):
            yield self._conditions.compared(f"count(*) FILTER ({found})", ">" if op == ">" else ">=", right.value)
        elif isinstance(value, Field) and op in _NOT_BELOW and self._bounds_one(function, value, right):
            reached = self._conditions.bounds(Comparison(value, _NOT_BELOW[op], right)).maybe
            yield _one_is(joined("AND", "TRUE", [found, reached]))

    def _bounds_one(self, function: str, value: Field, right: Literal) -> bool:
        """Whether the aggregate cannot reach a number unless one of its spans does."""
        if function == "avg":
            return value == Field("duration", "intrinsic") and abs(float(right.value or 0)) < _EXACT
        return function in ("min", "max")


def _asks_single_spans(node: Spansets) -> bool:
    """A trace is found if, and because, one of its spans is."""
    return not any(
        (isinstance(part, SpansetOperation) and part.op != "||") or _is_whole(part) for part, _ in walk(node)
    )


def found_by(node: Spansets) -> list[Filter]:
    """The filters whose spans may be among those that are found."""
    if isinstance(node, Filter):
        return [node]
    if node.op in ("&&", "||") or node.op[0] == "&":
        return [*found_by(node.left), *found_by(node.right)]
    return found_by(node.right)


def _is_whole(node: object) -> bool:
    return isinstance(node, Field) and node.scope == "intrinsic" and node.name in _WHOLE


def _one_is(text: str) -> str:
    """Of one of the spans it is true. A filter stops at its first part that is not true; `bool_or` asks all of them."""
    return text if text in ("TRUE", "FALSE") else f"(count(*) FILTER ({text}) > 0)"
