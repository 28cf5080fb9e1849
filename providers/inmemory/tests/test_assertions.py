"""What the assertions about spans accept, and what they say when they fail."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kai_tracing_inmemory import CapturedSpans, InMemoryProvider, SpanAssertions, capture_spans

from kai_tracing_core import SpanKind, SpanStatusCode, TraceContext, tracing

REMOTE = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1, is_remote=True)


@pytest.fixture
def shop() -> Iterator[CapturedSpans]:
    """A checkout that loads three items one by one and whose payment fails."""
    with capture_spans(fixed=True) as spans:
        with tracing.span("checkout", kind=SpanKind.SERVER, attributes={"cart.items": 3}):
            for item in (7, 8, 9):
                query = {"db.query.text": f"SELECT * FROM items WHERE id = {item}", "db.system.name": "sqlite"}
                with tracing.span("SELECT items", kind=SpanKind.CLIENT, attributes=query):
                    pass
            with tracing.span("POST /pay/{order}", kind=SpanKind.CLIENT, attributes={"tags": ("a", "b")}) as pay:
                pay.set_status(SpanStatusCode.ERROR, "declined")
        yield spans


TREE = """
recorded:
  checkout  SERVER  9.00 ms
  ├─ SELECT items  CLIENT  1.00 ms
  ├─ SELECT items  CLIENT  1.00 ms
  ├─ SELECT items  CLIENT  1.00 ms
  └─ POST /pay/{order}  CLIENT  1.00 ms  ERROR declined"""


def failure(assertion: Callable[..., Any], *args: Any, **options: Any) -> str:
    """The message that the assertion fails with."""
    with pytest.raises(AssertionError) as error:
        assertion(*args, **options)
    return str(error.value)


def text(message: str) -> str:
    """An expected message, as it stands in a test."""
    return textwrap.dedent(message).strip()


def test_assert_span(shop: CapturedSpans) -> None:
    """By name, `*` or pattern, kind, attributes, status and parent; gives the first that is so."""
    root = shop.assert_span("checkout", kind=SpanKind.SERVER, attributes={"cart.items": 3}, parent=None)
    pay = shop.assert_span("POST*", status=SpanStatusCode.ERROR, attributes={"tags": ["a", "b"]}, parent="checkout")
    assert pay.status_message == "declined"
    assert shop.assert_span(re.compile("pay"), parent=root) is pay
    query = shop.assert_span("SELECT items", attributes={"db.query.text": ...}, parent="check*")
    assert query.attributes["db.query.text"] == "SELECT * FROM items WHERE id = 7"
    third = shop.assert_span("SELECT items", attributes={"db.query.text": "SELECT * FROM items WHERE id = 9"})
    assert third.parent_id == root.span_id


def test_what_assert_span_says(shop: CapturedSpans) -> None:
    """The nearest span, each thing that differs, and the whole tree."""
    message = failure(
        shop.assert_span,
        "POST /pay",
        kind=SpanKind.PRODUCER,
        status=SpanStatusCode.OK,
        attributes={"tags": ["a"], "tag": ...},
        parent="SELECT*",
    )
    assert message == (
        text("""
            no span 'POST /pay' with kind=PRODUCER, status=OK, attributes={'tags': ['a'], 'tag': ...}, parent='SELECT*'
            nearest: 'POST /pay/{order}'
              name: expected 'POST /pay', is 'POST /pay/{order}'
              kind: expected PRODUCER, is CLIENT
              status: expected OK, is ERROR (declined)
              attribute 'tags': expected ['a'], is ['a', 'b']
              attribute 'tag': expected ..., is missing; there is 'tags'
              parent: expected 'SELECT*', is 'checkout'
        """)
        + TREE
    )


def test_the_right_name_is_nearer_than_the_right_rest(shop: CapturedSpans) -> None:
    """Among several of the name, the one with the fewest differences is shown."""
    message = failure(
        shop.assert_span, "SELECT items", attributes={"db.query.text": "SELECT * FROM items WHERE id = 8", "rows": 1}
    )
    assert message.splitlines()[1:4] == [
        "nearest: 'SELECT items'",
        "  attribute 'rows': expected 1, is missing",
        "recorded:",
    ]


def test_parents_that_are_not_there() -> None:
    """A parent elsewhere, one that runs, and none at all are told apart."""
    with capture_spans() as spans:
        tracing.span("far", parent=REMOTE).end()
        with tracing.span("runs"):
            tracing.span("near").end()
            near = failure(spans.assert_span, "near", parent="runs")
        assert spans.assert_span("near", parent="runs")
    assert "  parent: expected 'runs', is a span that has not ended" in near.splitlines()
    assert "  parent: expected none, is in another process" in failure(spans.assert_span, "far", parent=None)
    assert "  parent: expected 'near', is none" in failure(spans.assert_span, "runs", parent=spans.get("near"))
    assert "  parent: expected like 'x', is none" in failure(spans.assert_span, "runs", parent=re.compile("x"))


def test_nothing_was_recorded() -> None:
    """Then there is no nearest span."""
    with capture_spans() as spans:
        assert failure(spans.assert_span, "anything") == "no span 'anything'\nrecorded:\n  no spans"


def test_assert_no_span(shop: CapturedSpans) -> None:
    """What must not have happened."""
    shop.assert_no_span("DELETE*")
    shop.assert_no_span("SELECT*", status=SpanStatusCode.ERROR)
    assert failure(shop.assert_no_span, "SELECT*").splitlines()[0] == "3 spans 'SELECT*', none expected"
    assert failure(shop.assert_no_span, re.compile("^c")).splitlines()[0] == "1 span like '^c', none expected"


def test_assert_tree(shop: CapturedSpans) -> None:
    """Names, kinds, errors and nesting; attributes where the line has them; `...` for what varies."""
    shop.assert_tree("""
        checkout SERVER {'cart.items': 3}
          SELECT items CLIENT {"db.query.text": ...}
          SELECT items CLIENT {'db.query.text': 'SELECT * FROM items WHERE id = 8', 'db.system.name': 'sqlite'}
          SELECT ...
          POST /pay/{order} CLIENT ERROR {'tags': ['a', 'b']}
    """)


def test_what_assert_tree_says(shop: CapturedSpans) -> None:
    """A diff of the whole tree, quiet about what does not matter."""
    message = failure(
        shop.assert_tree,
        """
        checkout SERVER {'cart.items': 4, 'cart.id': ...}
            SELECT items CLIENT {'db.query.text': ...}
            SELECT items
            ... CLIENT
            POST /pay/{order} CLIENT {}
              connect
        """,
    )
    assert message == text("""
        the traces are not as expected
        --- expected
        +++ recorded
        -checkout SERVER {'cart.items': 4, 'cart.id': ...}
        +checkout SERVER {'cart.items': 3}
           SELECT items CLIENT {'db.query.text': ...}
        -  SELECT items
           ... CLIENT
        -  POST /pay/{order} CLIENT {}
        -    connect
        +  SELECT items CLIENT
        +  POST /pay/{order} CLIENT ERROR
    """)


def test_no_attributes(shop: CapturedSpans) -> None:
    """`{}` says that there are none."""
    with capture_spans() as spans:
        tracing.span("plain").end()
        spans.assert_tree("plain {}")
        tracing.span("other", attributes={"a": 1}).end()
        assert failure(spans.assert_tree, "plain\nother {}").splitlines()[3:] == [
            " plain",
            "-other {}",
            "+other {'a': 1}",
        ]


def test_names_with_braces() -> None:
    """Braces in a name are attributes only where they are a Python dictionary."""
    with capture_spans() as spans:
        for name in ("GET /{id}", "format {id}", "odd {[]: 1}", "two {a} {b}", ""):
            tracing.span(name, attributes={"a": [1, float("nan")]} if name else {}).end()
        spans.assert_tree("GET /{id}\nformat {id} {'a': ...}\nodd {[]: 1}\ntwo {a} {b} {'a': ...}\n''")
        spans.clear()
        tracing.span("format {id}").end()
        spans.assert_tree("format {id} {}")


def test_any_order(shop: CapturedSpans) -> None:
    """With `ordered=False` siblings go with the lines that fit, whichever come first."""
    lines = """
        checkout SERVER
          POST ... CLIENT ERROR
          ...
          SELECT items CLIENT {'db.query.text': 'SELECT * FROM items WHERE id = 9'}
          SELECT items CLIENT {'db.query.text': 'SELECT * FROM items WHERE id = 7'}
    """
    shop.assert_tree(lines, ordered=False)
    failure(shop.assert_tree, lines)
    message = failure(shop.assert_tree, lines.replace("= 7", "= 6"), ordered=False)
    assert message.splitlines()[-2:] == [
        "-  SELECT items CLIENT {'db.query.text': 'SELECT * FROM items WHERE id = 6'}",
        "+  SELECT items CLIENT {'db.query.text': 'SELECT * FROM items WHERE id = 8'}",
    ]


@pytest.mark.parametrize("snapshot", ["  a\nb", "a\n    b\n  c", "a\n    b\n        c\n  d"])
def test_odd_indentation_is_refused(snapshot: str) -> None:
    """A line that fits under none of those above is a mistake in the test, not a difference."""
    with capture_spans() as spans, pytest.raises(ValueError, match="indented unlike the lines above"):
        spans.assert_tree(snapshot)


names = st.text(st.characters(codec="utf-8", exclude_characters="{."), max_size=8)
values = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans(), st.text(max_size=5))
values = st.one_of(values, st.lists(st.integers(0, 9), max_size=3))
trees: Any = st.recursive(
    st.tuples(names, st.sampled_from(SpanKind), st.dictionaries(st.sampled_from("abc"), values), st.just(())),
    lambda below: st.tuples(
        names, st.sampled_from(SpanKind), st.dictionaries(st.sampled_from("abc"), values), st.lists(below, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)  # a loaded machine may take any time
@given(st.lists(trees, max_size=3), st.randoms(use_true_random=False))
def test_a_snapshot_fits_its_tree(traces: Any, random: Any) -> None:
    """Whatever was recorded, `snapshot` gives what `assert_tree` accepts, and in any order when told so."""

    def record(provider: InMemoryProvider, trees: Any, shuffle: bool) -> None:
        trees = random.sample(list(trees), len(trees)) if shuffle else trees
        for name, kind, attributes, below in trees:
            with provider.span(name, kind=kind, attributes=attributes):
                record(provider, below, shuffle)

    provider, shuffled = InMemoryProvider(), InMemoryProvider()
    record(provider, traces, False)
    record(shuffled, traces, True)
    spans = SpanAssertions(provider.store)
    for snapshot in (spans.snapshot(), spans.snapshot("*"), spans.snapshot("a", "c")):
        spans.assert_tree(snapshot)
        spans.assert_tree(snapshot, ordered=False)
        SpanAssertions(shuffled.store).assert_tree(snapshot, ordered=False)


def test_max_spans(shop: CapturedSpans) -> None:
    """A budget says what was spent, and where."""
    shop.max_spans("SELECT*", 3)
    shop.max_spans("*", 1, status=SpanStatusCode.ERROR)
    assert (
        failure(shop.max_spans, "*", 1)
        == text("""
            5 spans '*', at most 1 allowed
              3 x 'SELECT items' under 'checkout'
              1 x 'POST /pay/{order}' under 'checkout'
              1 x 'checkout' without a parent
        """)
        + TREE
    )


def test_n_plus_one(shop: CapturedSpans) -> None:
    """Queries that differ in their parameters only, with where they are and what they were."""
    shop.assert_no_n_plus_one(threshold=4)
    shop.assert_no_n_plus_one("POST*")
    assert (
        failure(shop.assert_no_n_plus_one)
        == text("""
            N+1: 3 x SELECT items: SELECT * FROM items WHERE id = ?
              under checkout
                SELECT * FROM items WHERE id = 7
                SELECT * FROM items WHERE id = 8
                SELECT * FROM items WHERE id = 9
        """)
        + TREE
    )


def test_n_plus_one_in_spans_of_their_own() -> None:
    """A call for each item counts even where each stands in a span of its own, that is numbered or not."""
    with capture_spans() as spans:
        for root in ("first", "second"):  # two requests with two calls each are fine
            with tracing.span(root):
                for item in (1, 2):
                    with tracing.span(f"item {item}"):
                        tracing.span("GET", kind=SpanKind.CLIENT, attributes={"url.full": f"http://a/{item}"}).end()
        spans.assert_no_n_plus_one()
        message = failure(spans.assert_no_n_plus_one, threshold=2)
        assert message.splitlines()[:2] == ["N+1: 2 x GET: http://a/?", "  under first > item ?"]
        assert "under second > item ?" in message


@pytest.mark.parametrize(
    ("texts", "alike"),
    [
        (["a = 'x'", "a = 'it''s'"], True),
        (["a IN (1, 2, 3)", "a IN (4)"], True),
        (["a = %(id)s", "a = %(other)s", "a = 5"], True),
        (["a = 1.5", "a = -2", "a = :id", "a = $1"], True),
        (["a::int = 1", "a::text = 1"], False),
        (["SELECT t1.a", "SELECT t2.a"], False),
        (["SELECT a FROM orders", "SELECT a FROM items"], False),
        (["https://h/u/0af76519-16cd-43dd-8448-eb211c80319c", "https://h/u/42", "https://h/u/0af7651916cd43dd"], True),
        (["https://h/u?page=a", "https://h/u?page=b"], True),
        (["https://h/v1/u", "https://h/v2/u"], False),
        (["https://h:8080/u", "https://h:9090/u"], False),
        (["https://h/orders", "https://h/decade"], False),
    ],
)
def test_what_is_alike(texts: list[str], alike: bool) -> None:
    """Parameters are numbers, texts, ids and query values; tables, paths and hosts are not."""
    with capture_spans() as spans:
        with tracing.span("root"):
            for query in texts:
                tracing.span("call", kind=SpanKind.CLIENT, attributes={"db.query.text": query}).end()
        if alike:
            assert failure(spans.assert_no_n_plus_one, threshold=len(texts)).startswith(f"N+1: {len(texts)} x call: ")
        else:
            spans.assert_no_n_plus_one(threshold=2)


def test_what_is_no_n_plus_one() -> None:
    """A loop inside the process, unless it is named; and the retries of one call."""
    with capture_spans() as spans:
        with tracing.span("batch"):
            for attempt in range(5):
                tracing.span("step").end()
                resent = {"http.request.resend_count": attempt} if attempt else {}
                tracing.span("GET", kind=SpanKind.CLIENT, attributes={"url.full": "http://a/", **resent}).end()
        spans.assert_no_n_plus_one()
        assert failure(spans.assert_no_n_plus_one, "step").startswith("N+1: 5 x step\n  under batch\n")


def test_looking_at_spans(shop: CapturedSpans) -> None:
    """The captured spans are a collection with the queries of the store."""
    assert len(shop) == 5
    assert shop.names == [span.name for span in shop] == ["SELECT items"] * 3 + ["POST /pay/{order}", "checkout"]
    assert shop[-1] is shop.spans[-1] is shop.get("check*") is shop.roots()[0]
    assert [span.name for span in shop.find("*T*", status=SpanStatusCode.ERROR)] == ["POST /pay/{order}"]
    assert str(shop.tree(shop[0].trace_id)).splitlines()[0] == "checkout  SERVER  9.00 ms"
    with pytest.raises(LookupError, match="3 spans match"):
        shop.get("SELECT*")
    shop.clear()
    assert not shop.spans
    assert shop.snapshot() == ""
