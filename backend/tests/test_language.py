"""The query language: texts and trees, errors, and what a query finds in a trace."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kai_tracing_backend.language import QueryError, all_of, attribute, compare, parse
from kai_tracing_backend.language import nodes as n
from kai_tracing_backend.language.parser import MAX_LENGTH
from kai_tracing_backend.language.vocabulary import ENUMS, INTRINSICS, SCOPES

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FIELDS = st.one_of(
    st.builds(n.Field, st.sampled_from(sorted(INTRINSICS)), st.just("intrinsic")),
    st.builds(
        n.Field,
        TEXTS | st.sampled_from(["service.name", "span.x", "a b", ".", "a-b/c"]),
        st.sampled_from(("", *SCOPES)),
    ),
)
NUMBERS = st.one_of(
    st.builds(n.Literal, st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from(["int", "duration"])),
    st.builds(n.Literal, st.floats(allow_nan=False, allow_infinity=False), st.just("float")),
)
ATTRIBUTES = st.builds(n.Field, TEXTS, st.sampled_from(SCOPES))
VALUES = st.recursive(
    st.one_of(ATTRIBUTES, NUMBERS),
    lambda inner: st.builds(n.Arithmetic, st.sampled_from("+-*/"), inner, inner),
    max_leaves=4,
)
ORDERS = st.sampled_from(["=", "!=", ">", ">=", "<", "<="])
EQUALITIES = st.sampled_from(["=", "!="])
COMPARISONS = st.one_of(
    st.builds(n.Comparison, VALUES, ORDERS, VALUES),
    st.builds(n.Comparison, FIELDS, EQUALITIES, st.just(n.Literal(None, "nil"))),
    st.builds(n.Comparison, ATTRIBUTES, ORDERS, st.builds(n.Literal, TEXTS, st.just("string"))),
    st.builds(n.Comparison, ATTRIBUTES, EQUALITIES, st.builds(n.Literal, st.booleans(), st.just("bool"))),
    st.builds(n.Comparison, ATTRIBUTES, st.sampled_from(["=~", "!~"]), st.just(n.Literal(".*\n\\d", "string"))),
    *(
        st.builds(n.Comparison, st.just(n.Field(kind, "intrinsic")), EQUALITIES, st.just(n.Literal(number, kind)))
        for kind, number in ENUMS.values()
    ),
)
CONDITIONS = st.recursive(
    COMPARISONS | st.just(n.Everything()),
    lambda inner: st.one_of(
        st.builds(n.And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(n.Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(n.Not, inner),
    ),
    max_leaves=6,
)
FILTERS = st.builds(n.Filter, CONDITIONS)
OPERATORS = ["&&", "||", *(sign + op for sign in ("", "!", "&") for op in (">", ">>", "<", "<<", "~"))]
SPANSETS = st.recursive(
    FILTERS, lambda inner: st.builds(n.SpansetOperation, st.sampled_from(OPERATORS), inner, inner), max_leaves=4
)
AGGREGATES = st.one_of(
    st.just(n.Aggregate("count")), st.builds(n.Aggregate, st.sampled_from(["avg", "min", "max", "sum"]), VALUES)
)
STAGES = st.one_of(
    FILTERS,
    st.builds(n.AggregateFilter, AGGREGATES, ORDERS, AGGREGATES | NUMBERS),
    st.builds(n.GroupBy, st.lists(FIELDS, min_size=1, max_size=2).map(tuple)),
    st.builds(n.Select, st.lists(FIELDS, min_size=1, max_size=2).map(tuple)),
    st.just(n.Coalesce()),
)
QUERIES = st.builds(n.TraceQuery, SPANSETS, st.lists(STAGES, max_size=2).map(tuple))


@settings(max_examples=200, deadline=None)
@given(QUERIES)
def test_the_text_of_a_query_is_that_query(query: n.TraceQuery) -> None:
    """Whatever the tree: its text is parsed into an equal tree."""
    assert parse(str(query)) == query


PIECES = [
    "{", "}", "(", ")", "&&", "||", "|", "!", "=", "=~", ">>", "&>", "-", "5", "5ms", '"a"', "`b`", "name", "span.a",
    "service.name", "status", "error", "nil", "count", "by", ",", ".", '"', "\\", "'", "é", "\n", "\ud800", "9" * 30,
    "1e999",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join)
    | st.lists(st.sampled_from(PIECES)).map("".join)
)
def test_any_text_is_a_query_or_an_error_with_a_place(text: str) -> None:
    """No other exception ever, and an error's place is in the text."""
    failure = None
    try:
        query = parse(text)
    except QueryError as error:
        failure = error
    if failure is None:
        assert parse(str(query)) == query
    else:
        assert 1 <= failure.line <= text.count("\n") + 1
        assert failure.column >= 1
        assert failure.message in str(failure)


@pytest.mark.parametrize(
    "text",
    [
        "{" + "(" * 4_000,
        "{" + "!" * 4_000 + "true}",
        "(" * 4_000,
        "{" + "a.b+" * 2_000 + "1=1}",
        "{}" + "&&{}" * 2_000,
        "{} | avg(" + "(" * 2_000 + "a.b" + "*a.b)" * 1_000,
        "{ .a = " + "1" * 8_000 + "}",
        "{" + " " * 9_000,
    ],
)
def test_what_is_too_long_or_too_deep_is_refused(text: str) -> None:
    """With an error of the language, whatever the depth."""
    with pytest.raises(QueryError):
        parse(text)


def test_many_conditions_side_by_side_are_not_deep() -> None:
    """A list of alternatives may be as long as a query."""
    assert len(str(parse("{ " + " || ".join(f".a = {number}" for number in range(500)) + " }"))) < MAX_LENGTH


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("{ a.b = }", 9, "} is not expected here; expected a value"),
        ("{ a.b = 5x }", 9, "5x is no number and no duration"),
        ('{ name = "x }', 10, "the string has no end"),
        ("{ name = 'x' }", 10, "double quotes"),
        ("{", 2, "the query ends here"),
        ("x", 1, "expected { or ("),
        ("{} {}", 4, "expected a structural operator"),
        ("status = error", 1, "conditions stand in braces"),
        ("", 1, "{ } finds every trace"),
        ("{ name == `a` }", 9, "equal is one ="),
        ("{ duration =< 1s }", 13, "as in <= and >="),
        ("{ name <> `a` }", 9, "different is !="),
        ("{ .a and .b = 1 }", 6, "and is written &&"),
        ("{ .a = 1 & .b = 1 }", 10, "and is written &&"),
        ("{ .a = 1 OR .b = 1 }", 10, "or is written ||"),
        ("{ .a = 1 | .b = 1 }", 10, "or is written ||"),
        ("{ not name = `a` }", 7, "not is written !"),
        ("{ name in (`a`, `b`) }", 8, '=~ "a|b"'),
        ("{ name like `a` }", 8, '=~ ".*part.*"'),
        ("{ duration > 200 ms }", 18, "no space in it, as in 200ms"),
        ("{} | count > 3", 12, "count() > 3"),
        ("{} count() > 3", 4, "stands after a |"),
        ("{} --limit 3", 4, "outside of the query's quotes"),
        ("{} | count() > 1 && count() < 5", 18, "a stage of its own"),
        ("{} | avg(duration) > 1s && {}", 25, "a stage of its own"),
        ("({ .a = 1 } | count() > 1) && {}", 13, "stages stand behind all spansets"),
        ("{} | max(duration) - min(duration) > 1s", 20, "cannot be computed with"),
        ("{} | avg(duration) > 2 * 100ms", 24, "cannot be computed with"),
        ("{ duration ^ 2 > 1s }", 12, "there are + - * and /"),
        ("{ .a % 2 = 0 }", 6, "there are + - * and /"),
        ("{ -duration < 0s }", 4, "0 - duration"),
        ("{ .a = -.b }", 9, "0 - duration"),
        ("{ nestedSetParent = 3 }", 21, "nestedSetParent < 0"),
        ("{ .a > nestedSetParent }", 3, "nestedSetParent < 0"),
        ("{ service = `a` }", 3, "did you mean service.name?"),
        ("{ traceID = `a` }", 3, "did you mean trace:id?"),
        ("{ trace:id = `xyz` }", 14, "an id of up to 32 hexadecimal digits"),
        ("{ `0123456789abcdef0` != span:id }", 3, "an id of up to 16 hexadecimal digits"),
        ("{ span:parentID = `` }", 19, "where there is none, span:parentID = nil"),
        ("{ traceduration > 1s }", 3, "did you mean traceDuration?"),
        ("{ name = cart }", 10, "a text in quotes"),
        ("{ duraton > 3s }", 3, "did you mean duration?"),
        ("{ foo = 3 }", 3, "an attribute is written .foo or span.foo"),
        ("{ kind = servr }", 10, "did you mean server?"),
        ("{ span:nam = 3 }", 3, "did you mean span:name?"),
        ('{ status = "error" }', 12, "one of unset, ok, error, without quotes"),
        ('{ duration > "200ms" }', 14, "no quotes, as in 200ms"),
        ("{ status > ok }", 10, "= and != only"),
        ("{ name = 3 }", 10, "different types"),
        ("{ .a > nil }", 6, "field = nil"),
        ("{ duration }", 3, "compare it with something"),
        ("{ (name = `a`) = 3 }", 4, "this is a condition"),
        ("{ name + 1 = 3 }", 3, "a number or a duration is expected"),
        ('{ name =~ "(" }', 11, "no regular expression"),
        ("{ duration =~ `a` }", 12, "compares strings"),
        ('{ name = "a\\d" }', 12, "backquotes"),
        ("{ span. = 1 }", 8, "the name of an attribute is expected"),
        ("{ .a = 99999999999999999999 }", 8, "64 bits"),
        ("{ .a = 1e999 }", 8, "too large"),
        ("{} | cuont() > 3", 6, "did you mean count?"),
        ("{} | count()", 6, "has to be compared"),
        ("{} | count(1) > 3", 12, "nothing in its parentheses"),
        ("{} | avg() > 3", 6, "takes one value"),
        ("{} | avg(name) > 3", 10, "a number or a duration is expected"),
        ("{} | count() > `a`", 16, "a number or a duration is expected"),
        ("{} | count() =~ 3", 14, "compares strings"),
        ("{} | by(name) > 3", 6, "give a number"),
        ("{} | by()", 6, "needs a field"),
        ("{} | by(3)", 9, "a field is expected"),
        ("{} | rate()", 6, "makes a metric"),
        ("{ parent.span.x = 1 }", 3, "as in { span.x = 1 } > { }; an attribute of this name is .parent.span.x"),
        ("{ status = error } with (most_recent=true)", 20, "leave it out"),
        ("{ nestedSetLeft = 1 }", 3, "did you mean {A} >> {B}?"),
        ("{ name = `\ud800` }", 11, "Unicode"),
    ],
)
def test_errors_say_where_and_what(text: str, column: int, message: str) -> None:
    """The column of the part that is wrong, and a message that helps."""
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert message in caught.value.message
    assert (caught.value.line, caught.value.column) == (1, column)


def test_an_error_shows_its_place() -> None:
    """The line of the query with a caret under the column, in a long query a part of it."""
    with pytest.raises(QueryError) as caught:
        parse('{ name = "a" &&\n  kind = servr }')
    assert str(caught.value).splitlines()[1:] == ["  kind = servr }", "         ^"]
    with pytest.raises(QueryError) as caught:
        parse("{ " + "name = `a` && " * 100 + "kind = servr }")
    line, caret = str(caught.value).splitlines()[1:]
    assert line[len(caret) - 1 :].startswith("servr")
    assert len(line) <= 100


def test_conditions_made_in_python_are_those_of_the_text() -> None:
    """What an API's parameters are turned into is what somebody could have written."""
    query = all_of(
        compare(attribute("service.name"), "=", "a"),
        compare("status", "=", 2),
        compare("duration", ">=", 5),
        compare(attribute("http.route", "span"), "=~", "/a.*"),
    )
    assert query == parse(str(query).replace("5", "5"))
    assert parse('{ service.name = "a" && status = error && duration >= 5 && span.http.route =~ "/a.*" }') == query
    assert all_of() == parse("{}")
    with pytest.raises(ValueError, match="there is no durat"):
        compare("durat", "=", 5)
    with pytest.raises(ValueError, match="regular expression"):
        compare("name", "=~", "(")


def test_comments_are_passed_over() -> None:
    """From `//` to the end of the line and from `/*` to `*/`; not in a string, and a division stays one."""
    said = '{ duration / 2 > 1s // half of it\n && /* all\nof */ .url = "http://a/*b*/" }'
    assert parse(said) == parse('{ duration / 2 > 1s && .url = "http://a/*b*/" }')
