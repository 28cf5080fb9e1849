"""Queries as hypothesis makes them, of the words that `traces` has."""

from __future__ import annotations

from hypothesis import strategies as st

from kai_tracing_backend.language import nodes as n
from kai_tracing_backend.language.vocabulary import ENUMS, INTRINSICS, SCOPES
from kai_tracing_backend.testing.traces import KEYS, NAMES, SERVICES, VALUES

__all__ = ["QUERIES", "SHAPES"]

_ORDERS = st.sampled_from(["=", "!=", ">", ">=", "<", "<="])
_EQUALITIES = st.sampled_from(["=", "!="])


def _of_kind(*kinds: str) -> st.SearchStrategy[n.Field]:
    return st.sampled_from([n.Field(name, "intrinsic") for name, kind in INTRINSICS.items() if kind in kinds])


_ATTRIBUTES = st.one_of(
    st.builds(n.Field, st.sampled_from(KEYS), st.sampled_from(["span", "", "resource"])),
    st.builds(n.Field, st.sampled_from(KEYS), st.sampled_from(SCOPES)),
)
_SERVICE = st.builds(n.Field, st.just("service.name"), st.sampled_from(["", "resource"]))
_FIELDS = _ATTRIBUTES | _SERVICE | _of_kind(*INTRINSICS.values())
_TEXTS = st.sampled_from(
    [*(value for value in VALUES if isinstance(value, str)), *NAMES, *SERVICES, "lib", "1", "A", "0" * 15 + "2"]
)
_STRINGS = st.builds(n.Literal, _TEXTS, st.just("string"))
_REGEXES = st.builds(
    n.Literal, st.sampled_from(["a|b", ".*", "[^a]", "(?s).*", "(?i)A", "0*[1-4]", "2.."]), st.just("string")
)
_WHOLE = st.sampled_from([0, 1, -1, 200, -5, 1 << 53, (1 << 53) + 1, 1_000, 200_000_000, (1 << 63) - 1])
_NUMBERS = st.one_of(
    st.builds(n.Literal, _WHOLE, st.sampled_from(["int", "duration"])),
    st.builds(n.Literal, st.sampled_from([0.0, 1.0, 200.5, -5.0, 2.0**53, 1e300]), st.just("float")),
)
_BOOLEANS = st.builds(n.Literal, st.booleans(), st.just("bool"))
_NUMERIC = st.recursive(
    _ATTRIBUTES | _of_kind("int", "duration") | _NUMBERS,
    lambda inner: st.builds(n.Arithmetic, st.sampled_from("+-*/"), inner, inner),
    max_leaves=3,
)
_COMPARISONS = st.one_of(
    st.builds(n.Comparison, _ATTRIBUTES, _ORDERS, _STRINGS | _NUMBERS),
    st.builds(n.Comparison, _ATTRIBUTES, _EQUALITIES, _BOOLEANS),
    st.builds(n.Comparison, _ATTRIBUTES | _SERVICE | _of_kind("string"), st.sampled_from(["=~", "!~"]), _REGEXES),
    st.builds(n.Comparison, _SERVICE | _of_kind("string"), _ORDERS, _STRINGS),
    st.builds(n.Comparison, _STRINGS, _ORDERS, _SERVICE | _of_kind("string") | _ATTRIBUTES),
    st.builds(n.Comparison, _of_kind("int", "duration"), _ORDERS, _NUMBERS),
    st.builds(n.Comparison, _NUMERIC, _ORDERS, _NUMERIC),
    st.builds(n.Comparison, _FIELDS, _EQUALITIES, st.just(n.Literal(None, "nil"))),
    st.builds(n.Comparison, _ATTRIBUTES | _SERVICE, _ORDERS, _ATTRIBUTES | _SERVICE),
    *(
        st.builds(n.Comparison, st.just(n.Field(kind, "intrinsic")), _EQUALITIES, st.just(n.Literal(number, kind)))
        for kind, number in ENUMS.values()
    ),
)
_CONDITIONS = st.recursive(
    _COMPARISONS | st.just(n.Everything()),
    lambda inner: st.one_of(
        st.builds(n.And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(n.Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(n.Not, inner),
    ),
    max_leaves=4,
)
_FILTERS = st.builds(n.Filter, _CONDITIONS)
_OPERATORS = ["&&", "||", *(sign + op for sign in ("", "!", "&") for op in (">", ">>", "<", "<<", "~"))]
_SPANSETS = st.recursive(
    _FILTERS, lambda inner: st.builds(n.SpansetOperation, st.sampled_from(_OPERATORS), inner, inner), max_leaves=3
)
_AGGREGATES = st.one_of(
    st.just(n.Aggregate("count")),
    st.builds(n.Aggregate, st.sampled_from(["avg", "min", "max", "sum"]), _NUMERIC),
)
_STAGES = st.one_of(
    _FILTERS,
    st.builds(
        n.AggregateFilter,
        _AGGREGATES,
        _ORDERS,
        _AGGREGATES | _NUMBERS | st.builds(n.Literal, st.integers(0, 4), st.just("int")),
    ),
    st.builds(n.GroupBy, st.lists(_FIELDS, min_size=1, max_size=2, unique=True).map(tuple)),
    st.builds(n.Select, st.lists(_FIELDS, min_size=1, max_size=2).map(tuple)),
    st.just(n.Coalesce()),
)
QUERIES = st.builds(n.TraceQuery, _SPANSETS, st.lists(_STAGES, max_size=2).map(tuple))
"""Queries of every shape."""

SHAPES = [
    *(
        f"{{ {left} }} {sign}{op} {{ {right} }}"
        for sign in ("", "!", "&")
        for op in (">", ">>", "<", "<<", "~")
        for left, right in (
            ("status = ok", "status = ok"),
            ("span.x != nil", "duration > 1ms"),
        )
    ),
    '({ status = ok } >> { .x != nil }) > { service.name = "a" }',
    '{ status = ok } >> ({ name = "op" } < { service.name = "a" })',
    '({ status = error } && { name = "op" }) >> { kind = server }',
    '({ status = error } || { name = "op" }) !>> { kind = server }',
    '{ status = error } !>> ({ name = "op" } !> { kind = server })',
    '{ kind = server } && { status = error } >> { name = "op" }',
    '({ kind = server } && { name = "op" }) || { status = error } | count() = 2',
    *(f"{{ span:childCount {op} {number} }}" for op in ("=", ">", ">=", "<", "!=") for number in (0, 1, 2)),
    "{ span:childCount > 1 && status = ok } > { true }",
    *(
        f"{{ {asked} }} | {function}({value}) {op} {number}"
        for asked in ("true", "status != error")
        for function, value, number in (
            ("sum", "duration", "200ms"),
            ("avg", "duration", "70ms"),
            ("max", ".x", "1"),
            ("min", "span.x", "0"),
            ("sum", ".x * 2", "2"),
            ("avg", "span.http.response.status_code", "200"),
        )
        for op in ("=", "!=", ">", "<=")
    ),
    *(f"{{ true }} | count() {op} 3" for op in ("=", "!=", ">", ">=", "<", "<=")),
    # What comes later in a pipeline says nothing of what was there before.
    "{ true } | count() > 2 | { status = error }",
    '{ name = "op" } && { status = ok } | { span.x = "a" }',
    "{ true } | sum(duration) > 200ms | { status = error }",
    "{ true } | by(service.name) | count() = 1",
    "{ true } | by(service.name) | sum(duration) < 1ms",
    "{ true } | by(service.name) | avg(duration) = 200ms",
    "{ true } | by(service.name) | count() > 1 | coalesce() | count() < 4",
    "{ true } | count() > 2 | avg(duration) > 1ms",
]
"""One of every shape that a store may want to ask in its own way."""
