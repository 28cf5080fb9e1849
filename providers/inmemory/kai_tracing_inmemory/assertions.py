"""What a test says about spans, and what it is told when that is not so."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from re import Pattern
from types import EllipsisType
from typing import Any

from kai_tracing_core.span import Span, SpanKind, SpanStatusCode
from kai_tracing_inmemory import snapshots
from kai_tracing_inmemory.repetition import find_repetitions, is_outgoing
from kai_tracing_inmemory.store import SpanStore
from kai_tracing_inmemory.tree import SpanTree

__all__ = ["SpanAssertions"]

_MISSING = object()


class SpanAssertions:
    """The finished spans of a store, to be looked at and asserted on: `SpanAssertions(provider.store)`.

    In names `*` stands for anything; a compiled pattern may match anywhere. Whatever fails raises `AssertionError` with
    what there is instead.
    """

    def __init__(self, store: SpanStore) -> None:
        self.store = store

    # -- looking -----------------------------------------------------------------------------------------------------

    @property
    def spans(self) -> list[Span]:
        """The finished spans, in the order of their ends."""
        return self.store.spans

    @property
    def names(self) -> list[str]:
        """Their names, in the same order."""
        return [span.name for span in self.store.spans]

    def __iter__(self) -> Iterator[Span]:
        return iter(self.store.spans)

    def __len__(self) -> int:
        return len(self.store.spans)

    def __getitem__(self, index: int) -> Span:
        return self.store.spans[index]

    def find(self, name: str | Pattern[str] | None = None, **criteria: Any) -> list[Span]:
        """The spans that are as described: `kind`, `attributes`, `status`, `trace_id`, as for the provider's `find`."""
        return self.store.find(_pattern(name), **criteria)

    def get(self, name: str | Pattern[str] | None = None, **criteria: Any) -> Span:
        """The one span that is as described.

        Raises:
            LookupError: there is none or more than one; the message shows what there is.
        """
        return self.store.get(_pattern(name), **criteria)

    def wait_for(
        self, name: str | Pattern[str] | None = None, *, count: int = 1, timeout: float = 5.0, **criteria: Any
    ) -> list[Span]:
        """The spans that are as described, once there are at least `count`: for spans that end on other threads.

        Raises:
            TimeoutError: there are fewer after `timeout` seconds; the message shows what there is.
        """
        return self.store.wait_for(_pattern(name), count=count, timeout=timeout, **criteria)

    def roots(self) -> list[Span]:
        """The spans without a parent here, in the order of their ends."""
        return self.store.roots()

    def tree(self, trace_id: str | None = None) -> SpanTree:
        """All traces, or one, as trees: `print(tracing_spans.tree())`."""
        return self.store.tree(trace_id)

    def snapshot(self, *attributes: str) -> str:
        """The trees as text without times and ids, as `assert_tree` takes it; with the attributes named (`*`: all)."""
        return snapshots.render(self.tree(), attributes)

    def clear(self) -> None:
        """Forget the finished spans."""
        self.store.clear()

    # -- asserting ---------------------------------------------------------------------------------------------------

    def assert_span(
        self,
        name: str | Pattern[str],
        *,
        kind: SpanKind | None = None,
        attributes: Mapping[str, Any] | None = None,
        status: SpanStatusCode | None = None,
        parent: str | Pattern[str] | Span | EllipsisType | None = ...,
    ) -> Span:
        """There is such a span; the first of them to end is returned.

        Of the attributes all that are given must be there and equal, or just be there where the value is `...`. The
        parent is a finished span or the name of one; None says that the span is the root of its trace.
        """
        __tracebackhide__ = True
        wanted: dict[str, Any] = {"kind": kind, "status": status, "parent": parent}
        spans = self.spans
        parents = {(span.trace_id, span.span_id): span for span in spans}

        def differences(span: Span) -> list[str]:
            found = parents.get((span.trace_id, span.parent_id or ""))
            return [
                *_differing(wanted, span),
                *_differing_attributes(attributes or {}, span),
                *_differing_parent(parent, span, found),
            ]

        for span in spans:
            if _is_named(name, span.name) and not differences(span):
                return span
        message = [f"no span {_described(name, attributes, wanted)}"]
        if spans:
            # A right name outweighs what else may be right.
            nearest = min(spans, key=lambda span: len(differences(span)) - 5 * _likeness(name, span.name))
            message.append(f"nearest: {nearest.name!r}")
            if not _is_named(name, nearest.name):
                message.append(f"  name: expected {_text(name)}, is {nearest.name!r}")
            message += [f"  {difference}" for difference in differences(nearest)]
        raise AssertionError("\n".join([*message, *self._all()]))

    def assert_no_span(self, name: str | Pattern[str], **criteria: Any) -> None:
        """There is no such span; the criteria are those of `find`."""
        __tracebackhide__ = True
        found = self.find(name, **criteria)
        if found:
            raise AssertionError("\n".join([f"{_count(len(found))} {_text(name)}, none expected", *self._all()]))

    def assert_tree(self, expected: str, *, ordered: bool = True) -> None:
        r'''The traces are these: a line a span, children indented, in the order of their starts.

            tracing_spans.assert_tree("""
                checkout SERVER {'cart.items': 3}
                  load cart
                  POST CLIENT ERROR {'http.response.status_code': 503, 'url.full': ...}
            """)

        A line has the name, the kind unless that is INTERNAL, and ERROR where that is the status; `...` in it stands
        for anything. Attributes are compared where the line has them, as a Python dictionary: those that it names, by
        equality, or `...` for any value; `{}` says that there are none. With `ordered` False siblings may come in any
        order, as those of concurrent work do.
        '''
        __tracebackhide__ = True
        difference = snapshots.compare(snapshots.parse(expected), self.tree(), ordered=ordered)
        if difference is not None:
            raise AssertionError(f"the traces are not as expected\n{difference}")

    def max_spans(self, name: str | Pattern[str], limit: int, **criteria: Any) -> None:
        """A budget of calls: at most `limit` spans are so; the criteria are those of `find`."""
        __tracebackhide__ = True
        found = self.find(name, **criteria)
        if len(found) <= limit:
            return
        names = {(span.trace_id, span.span_id): span.name for span in self.spans}
        places = Counter((span.name, names.get((span.trace_id, span.parent_id or ""))) for span in found)
        lines = [
            f"  {count} x {its_name!r} " + (f"under {parent!r}" if parent is not None else "without a parent")
            for (its_name, parent), count in places.most_common()
        ]
        raise AssertionError(
            "\n".join([f"{_count(len(found))} {_text(name)}, at most {limit} allowed", *lines, *self._all()])
        )

    def assert_no_n_plus_one(self, name: str | Pattern[str] | None = None, *, threshold: int = 3) -> None:
        """No call is made `threshold` times or more at one place of a trace with nothing but other parameters.

        Looked at are calls to something else (of kind CLIENT or PRODUCER, or with attributes `db.*`) or, where a name
        is given, the spans of that name. Two calls are alike when their names and their `db.query.text` or `url.full`
        are, apart from numbers, ids, texts and query parameters, and the names of all spans above them are the same.
        """
        __tracebackhide__ = True
        spans = self.find(name) if name is not None else [span for span in self.spans if is_outgoing(span)]
        repetitions = find_repetitions(self.tree(), spans, threshold)
        if repetitions:
            raise AssertionError("\n".join(["N+1: " + str(found) for found in repetitions] + self._all()))

    def _all(self) -> list[str]:
        return ["recorded:", *(f"  {line}" for line in (str(self.tree()) or "no spans").splitlines())]


def _pattern(name: str | Pattern[str] | None) -> str | Pattern[str] | None:
    return snapshots.text_pattern(name, "*") if isinstance(name, str) and "*" in name else name


def _is_named(wanted: str | Pattern[str], name: str) -> bool:
    pattern = _pattern(wanted)
    return wanted == name if isinstance(pattern, str) or pattern is None else pattern.search(name) is not None


def _likeness(wanted: str | Pattern[str], name: str) -> float:
    """1.0 for a name that is the one wanted, else how near it is to it."""
    if _is_named(wanted, name):
        return 1.0
    text = wanted.replace("*", "") if isinstance(wanted, str) else wanted.pattern
    return 0.99 * difflib.SequenceMatcher(None, text, name).ratio()


def _differing(wanted: Mapping[str, Any], span: Span) -> Iterator[str]:
    for what in ("kind", "status"):
        found = getattr(span, what)
        if wanted[what] not in (None, found):
            message = f" ({span.status_message})" if what == "status" and span.status_message else ""
            yield f"{what}: expected {wanted[what].name}, is {found.name}{message}"


def _differing_attributes(wanted: Mapping[str, Any], span: Span) -> Iterator[str]:
    if not wanted:
        return
    attributes = span.attributes
    for key, value in wanted.items():
        found = attributes.get(key, _MISSING)
        if found is _MISSING:
            like = difflib.get_close_matches(key, attributes, 1)
            hint = f"; there is {like[0]!r}" if like else ""
            yield f"attribute {key!r}: expected {snapshots.show(value)}, is missing{hint}"
        elif value is not ... and snapshots.plain(found) != snapshots.plain(value):
            yield f"attribute {key!r}: expected {snapshots.show(value)}, is {snapshots.show(found)}"


def _differing_parent(
    wanted: str | Pattern[str] | Span | EllipsisType | None, span: Span, found: Span | None
) -> Iterator[str]:
    if wanted is ...:
        return
    if wanted is None:
        right = span.parent_id is None
    elif isinstance(wanted, Span):
        right = (span.trace_id, span.parent_id) == (wanted.trace_id, wanted.span_id)
    else:
        right = found is not None and _is_named(wanted, found.name)
    if not right:
        yield f"parent: expected {_parent(wanted)}, is {_parent(found) if found else _unknown_parent(span)}"


def _parent(parent: str | Pattern[str] | Span | None) -> str:
    if isinstance(parent, Span):
        return repr(parent.name)
    return "none" if parent is None else _text(parent)


def _unknown_parent(span: Span) -> str:
    if span.parent_id is None:
        return "none"
    return "in another process" if span.has_remote_parent else "a span that has not ended"


def _text(name: str | Pattern[str]) -> str:
    return repr(name) if isinstance(name, str) else f"like {name.pattern!r}"


def _described(name: str | Pattern[str], attributes: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> str:
    parts = [f"{what}={wanted[what].name}" for what in ("kind", "status") if wanted[what] is not None]
    if attributes:
        parts.append("attributes={" + ", ".join(f"{k!r}: {snapshots.show(v)}" for k, v in attributes.items()) + "}")
    if wanted["parent"] is not ...:
        parts.append(f"parent={_parent(wanted['parent'])}")
    return f"{_text(name)}{' with ' * bool(parts)}{', '.join(parts)}"


def _count(number: int) -> str:
    return f"{number} span{'s' * (number != 1)}"
