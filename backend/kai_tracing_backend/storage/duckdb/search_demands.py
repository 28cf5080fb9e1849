"""What a query demands of a trace as a whole, as SQL over the group of its spans: constant fragments, as in conditions.

`{ A } && { B }` needs a span that may pass A and one that may pass B, `| count() > 3` four that may be found, and
`traceDuration > 5s` is said of all spans together. A trace that is not so is not looked at, however many of its spans
would do. Nothing here decides what is found: that is `language.evaluation`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from kai_tracing_backend.columns import SHARED
from kai_tracing_backend.language.nodes import (
    AggregateFilter,
    And,
    Comparison,
    Condition,
    Field,
    Filter,
    GroupBy,
    Literal,
    Or,
    SpansetOperation,
    Spansets,
    TraceQuery,
    walk,
)
from kai_tracing_backend.storage.duckdb.expressions import joined, negated
from kai_tracing_backend.storage.duckdb.search_conditions import SearchConditions, as_plain, fewest_children
from kai_tracing_backend.storage.duckdb.search_values import number

__all__ = ["Demands", "found_by"]

_WHOLE = ("traceDuration", "rootName", "rootServiceName")
_ROOT = {"rootName": "name", "rootServiceName": "service"}
_ROOTED = "bool_or(parent_id = 0)"


class Demands:
    """Makes the expressions.

    `conditions` makes what they say of single spans, and has the parameters of both. `maybe` is true of every span that
    a filter before the first `|` selects, and of no other where the filter is `exact`.
    """

    def __init__(self, conditions: SearchConditions, maybe: Mapping[Filter, str], exact: Collection[Filter]) -> None:
        self._conditions = conditions
        self._maybe = maybe
        self._exact = exact

    def of(self, query: TraceQuery) -> str:
        """True of the spans of every trace in which the query finds something; TRUE where each span may be found."""
        terms = [] if _asks_single_spans(query.spansets) else [self._spansets(query.spansets)]
        left = _Left(self.found(query.spansets), self._is_exact(query.spansets))
        for stage in query.stages:
            if isinstance(stage, Filter):
                sure, maybe = self._conditions.bounds(stage.condition)
                terms.append(self._whole(stage.condition))
                left = _Left(joined("AND", "TRUE", [left.spans, maybe]), left.exact and sure == maybe)
            elif isinstance(stage, AggregateFilter):
                terms += self._aggregate(stage, left)
            elif isinstance(stage, GroupBy):
                left = _Left(left.spans, exact=False)
        return joined("AND", "TRUE", terms)

    def found(self, node: Spansets) -> str:
        """True of every span that the spansets may have."""
        return joined("OR", "FALSE", [self._maybe[leaf] for leaf in found_by(node)])

    def _is_exact(self, node: Spansets) -> bool:
        """The spansets have no other spans than what `found` says, and either all of these or none."""
        operations = [part for part, _ in walk(node) if isinstance(part, SpansetOperation)]
        if any(one.op not in ("&&", "||") for one in operations):
            return False
        some = [one for one in operations if one.op == "||"]
        mixed = any(isinstance(part, SpansetOperation) and part.op == "&&" for one in some for part, _ in walk(one))
        return not mixed and all(leaf in self._exact for leaf in found_by(node))

    def _spansets(self, node: Spansets) -> str:
        if isinstance(node, Filter):
            large = self._spans_more_than(fewest_children(node.condition))
            return joined("AND", "TRUE", [large, _one_is(self._maybe[node]), self._whole(node.condition)])
        if node.op[0] == "!":  # finds spans of the right side, whether there are any of the left or not
            return self._spansets(node.right)
        sides = [self._spansets(node.left), self._spansets(node.right)]
        if node.op == "||":
            return joined("OR", "FALSE", sides)
        return joined("AND", "TRUE", [*sides, self._related(node)])

    def _spans_more_than(self, count: int) -> str:
        return f"(count(*) > {self._conditions.value(count)})" if count > 1 else "TRUE"

    def _related(self, node: SpansetOperation) -> str:
        """A span of the one side may be the parent of one of the other (or of anyone, for ancestors): its id is named.

        The half that a server adds to a client's span (B3) has its id, and is its child.
        """
        op = node.op.removeprefix("&")
        if op[0] not in "<>":
            return "TRUE"
        sides = [self.found(side) for side in (node.left, node.right)]
        above, below = sides if op[0] == ">" else reversed(sides)
        below = below if len(op) == 1 else "TRUE"
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

    def _aggregate(self, stage: AggregateFilter, left: _Left) -> Iterator[str]:
        """What `| count() > 3`, or one about a number of the spans, says of the spans that may be left."""
        value, op, right = stage.aggregate.value, stage.op, stage.right
        if not isinstance(right, Literal) or right.value is None:
            return
        if value is None:
            if left.exact or op in (">", ">=", "="):
                op = op if left.exact or op == ">" else ">="
                yield self._conditions.compared(f"count(*) FILTER ({left.spans})", op, right.value)
            return
        typed = self._conditions.typed(value)
        limit = f"{self._conditions.value(float(right.value))}::DOUBLE"
        reached = "FALSE" if (of_span := number(typed)) is None else _reached(stage, of_span, left, limit)
        yield joined("OR", "FALSE", [reached, _one_is(joined("AND", "TRUE", [left.spans, typed.unsaid]))])


class _Left(NamedTuple):
    """What is left of a trace at a stage."""

    spans: str
    """True of every span that may be."""
    exact: bool
    """It is one set of all these, or nothing."""


def _reached(stage: AggregateFilter, number: str, left: _Left, limit: str) -> str:
    """The aggregate may compare so with the limit, whatever set of the spans it is of, if they are not exact.

    Sums are computed in another order here: what differs by that is far less than the `about` of it.
    """
    function, filtered = stage.aggregate.function, f"FILTER ({left.spans})"
    about = f"1e-9 * sum(abs({number})) {filtered}" if function in ("avg", "sum") else "0"
    if left.exact:
        least = most = f"{function}({number}) {filtered}"
    elif function == "sum":
        least, most = (f"sum({choice}({number}, 0)) {filtered}" for choice in ("least", "greatest"))
    else:
        least, most = (f"{choice}({number}) {filtered}" for choice in ("min", "max"))
    terms = [f"{least} IS NOT NULL"]
    if stage.op in ("=", "<", "<="):
        terms.append(f"{least} - {about} <= {limit}")
    if stage.op in ("=", ">", ">="):
        terms.append(f"{most} + {about} >= {limit}")
    return joined("AND", "TRUE", terms)


def _asks_single_spans(node: Spansets) -> bool:
    """A trace is found if, and because, one of its spans is."""
    return not any(
        (isinstance(part, SpansetOperation) and part.op != "||")
        or (isinstance(part, Filter) and fewest_children(part.condition) > 1)
        or _is_whole(part)
        for part, _ in walk(node)
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
