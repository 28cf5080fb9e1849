"""Spans as trees, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kai_tracing_core.span import Span, SpanKind, SpanStatusCode

__all__ = ["SpanNode", "SpanTree", "build_tree", "describe", "find_roots"]


class SpanNode:
    """A span and those that were started under it, in the order of their starts."""

    __slots__ = ("children", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.children: list[SpanNode] = []

    def __str__(self) -> str:
        """The tree below this span, a line each: name, kind, duration, and the status of what failed."""
        return "\n".join(_lines(self))

    def __iter__(self) -> Iterator[SpanNode]:
        """This node and all below it, each before its children."""
        pending = [self]
        while pending:
            node = pending.pop()
            yield node
            pending.extend(reversed(node.children))


class SpanTree(tuple[SpanNode, ...]):
    """The roots of the traces, in the order of their starts; `print` shows the trees under them."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self))


def build_tree(spans: Iterable[Span]) -> SpanTree:
    """The trees that the spans form; a span whose parent is not among them is the root of one."""
    ordered = sorted(spans, key=lambda span: span.start_time)
    nodes = {_key(span): SpanNode(span) for span in ordered}
    roots: list[SpanNode] = []
    for node in nodes.values():
        parent = nodes.get((node.span.trace_id, node.span.parent_id))
        (roots if parent is None or parent is node else parent.children).append(node)
    return SpanTree(roots)


def find_roots(spans: Sequence[Span]) -> list[Span]:
    """Those spans whose parents are not among them."""
    known = {_key(span) for span in spans}
    return [span for span in spans if (span.trace_id, span.parent_id) not in known]


def _key(span: Span) -> tuple[str, str | None]:
    return span.trace_id, span.span_id


def _lines(root: SpanNode) -> Iterator[str]:
    pending = [(root, "", "")]
    while pending:
        node, first, rest = pending.pop()
        yield first + describe(node.span)
        last = len(node.children) - 1
        pending.extend(
            (child, rest + ("└─ " if index == last else "├─ "), rest + ("   " if index == last else "│  "))
            for index, child in reversed(list(enumerate(node.children)))
        )


def describe(span: Span) -> str:
    """One line: name, kind, duration, and the status of what failed."""
    parts = [span.name]
    if span.kind is not SpanKind.INTERNAL:
        parts.append(span.kind.name)
    parts.append(f"{(span.duration or 0.0) * 1000:.2f} ms")
    if span.status is SpanStatusCode.ERROR:
        parts.append(f"ERROR {span.status_message or ''}".rstrip())
    return "  ".join(parts)
