"""Traces as text that is the same in every run: no times, no ids."""

from __future__ import annotations

import ast
import difflib
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kai_tracing_core.span import Span, SpanKind, SpanStatusCode
from kai_tracing_inmemory.tree import SpanNode

__all__ = ["Line", "compare", "parse", "render", "show", "text_pattern"]

_INDENT = "  "
_WIDE = 1_000_000


@dataclass(slots=True, eq=False)
class Line:
    """One span of a snapshot. Without `attributes` they do not matter, with `{}` there must be none."""

    title: str
    attributes: dict[str, Any] | None = None
    children: list[Line] = field(default_factory=list)


def parse(text: str) -> list[Line]:
    """The spans that a snapshot describes, by indentation.

    Raises:
        ValueError: a line is indented less than what it should be under.
    """
    top = Line("")
    open_lines = [(-1, top)]
    for number, row in enumerate(textwrap.dedent(text).splitlines(), 1):
        if not row.strip():
            continue
        indent = len(row) - len(row.lstrip())
        while open_lines[-1][0] >= indent:
            closed = open_lines.pop()[0]
            if closed > indent > open_lines[-1][0] and open_lines[-1][1].children:
                raise ValueError(f"line {number} of the snapshot is indented unlike the lines above: {row!r}")
        line = _parse_line(row)
        open_lines[-1][1].children.append(line)
        open_lines.append((indent, line))
    return top.children


def render(nodes: Sequence[SpanNode], attributes: Collection[str] = ()) -> str:
    """The snapshot of a tree, with the attributes named; `*` names all of them."""
    return "\n".join(_render(nodes, attributes, 0))


def compare(expected: Sequence[Line], nodes: Sequence[SpanNode], *, ordered: bool = True) -> str | None:
    """None where the tree is as expected, else a unified diff of the whole of it.

    With `ordered` False the children of a span, and the traces, may come in any order.
    """
    wanted = list(_expected(expected, 0))
    found = list(_found(nodes, expected, ordered, 0))
    if wanted == found:
        return None
    # The lines of context are all there are, so that the diff shows the whole tree.
    diff = difflib.unified_diff(wanted, found, "expected", "recorded", lineterm="", n=_WIDE)
    return "\n".join(line for line in diff if not line.startswith("@@"))


def title(span: Span) -> str:
    """The span's line without its attributes."""
    parts = span.name.split() or ["''"]
    if span.kind is not SpanKind.INTERNAL:
        parts.append(span.kind.name)
    if span.status is SpanStatusCode.ERROR:
        parts.append("ERROR")
    return " ".join(parts)


def text_pattern(text: str, wildcard: str) -> re.Pattern[str]:
    """What matches the whole of `text`, in which `wildcard` stands for anything."""
    return re.compile(r"\A" + ".*".join(map(re.escape, text.split(wildcard))) + r"\Z", re.DOTALL)


def plain(value: Any) -> Any:
    """The value as a snapshot writes it: a list where it is a sequence."""
    return list(value) if isinstance(value, tuple) else value


def show(value: Any) -> str:
    """The value as a snapshot writes it, as text."""
    return "..." if value is ... else repr(plain(value))


def _parse_line(row: str) -> Line:
    row = row.strip()
    for brace in re.finditer(r" \{", row):
        try:
            attributes = ast.literal_eval(row[brace.start() + 1 :])
        except (SyntaxError, TypeError, ValueError):  # a name with a brace in it
            continue
        if isinstance(attributes, dict):
            return Line(" ".join(row[: brace.start()].split()), attributes)
    return Line(" ".join(row.split()))


def _braces(attributes: Mapping[str, Any] | None) -> str:
    if attributes is None:
        return ""
    return " {" + ", ".join(f"{key!r}: {show(value)}" for key, value in attributes.items()) + "}"


def _writable(value: Any) -> Any:
    """The value, or `...` where it is nothing that `parse` reads back, as not-a-number is."""
    try:
        return value if ast.literal_eval(repr(plain(value))) == plain(value) else ...
    except ValueError:
        return ...


def _render(nodes: Sequence[SpanNode], attributes: Collection[str], depth: int) -> Iterator[str]:
    for node in nodes:
        shown = {
            key: _writable(value)
            for key, value in sorted(node.span.attributes.items())
            if key in attributes or "*" in attributes
        }
        yield _INDENT * depth + title(node.span) + _braces(shown or None)
        yield from _render(node.children, attributes, depth + 1)


def _expected(lines: Sequence[Line], depth: int) -> Iterator[str]:
    for line in lines:
        yield _INDENT * depth + line.title + _braces(line.attributes)
        yield from _expected(line.children, depth + 1)


def _found(nodes: Sequence[SpanNode], lines: Sequence[Line], ordered: bool, depth: int) -> Iterator[str]:
    """The recorded spans as their snapshot has them: what does not matter there is not shown, or as it is there."""
    for node, line in _pairs(nodes, lines, ordered):
        if line is None:
            yield _INDENT * depth + title(node.span)
            yield from _render(node.children, (), depth + 1)
        else:
            yield _INDENT * depth + line.title + _braces(_shown(node.span.attributes, line.attributes))
            yield from _found(node.children, line.children, ordered, depth + 1)


def _shown(attributes: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a recorded span shows where the snapshot has the attributes `wanted`: the same where it fits."""
    if not wanted:
        return None if wanted is None else dict(attributes)
    return {
        key: value if value is ... or plain(attributes[key]) == plain(value) else attributes[key]
        for key, value in wanted.items()
        if key in attributes
    }


def _titled(node: SpanNode, line: Line) -> bool:
    return text_pattern(line.title, "...").match(title(node.span)) is not None


def _pairs(nodes: Sequence[SpanNode], lines: Sequence[Line], ordered: bool) -> list[tuple[SpanNode, Line | None]]:
    if not ordered:
        return _pairs_in_any_order(nodes, lines)
    pairs: list[tuple[SpanNode, Line | None]] = []
    position = 0
    for node in nodes:
        at = next((at for at in range(position, len(lines)) if _titled(node, lines[at])), None)
        pairs.append((node, None if at is None else lines[at]))
        position = position if at is None else at + 1
    return pairs


def _pairs_in_any_order(nodes: Sequence[SpanNode], lines: Sequence[Line]) -> list[tuple[SpanNode, Line | None]]:
    taken = _match([[_fits(node, line) for line in lines] for node in nodes])
    for index, node in enumerate(nodes):
        if index not in taken.values():
            at = next((at for at, line in enumerate(lines) if at not in taken and _titled(node, line)), None)
            if at is not None:
                taken[at] = index
    pairs: list[tuple[SpanNode, Line | None]] = [(nodes[taken[at]], lines[at]) for at in sorted(taken)]
    left = sorted(set(range(len(nodes))) - set(taken.values()), key=lambda index: title(nodes[index].span))
    return pairs + [(nodes[index], None) for index in left]


def _fits(node: SpanNode, line: Line) -> bool:
    """Whether the span, and all below it in any order, is what the line says."""
    if not _titled(node, line) or len(node.children) != len(line.children):
        return False
    if _shown(node.span.attributes, line.attributes) != line.attributes:
        return False
    edges = [[_fits(child, expected) for expected in line.children] for child in node.children]
    return len(_match(edges)) == len(line.children)


def _match(edges: Sequence[Sequence[bool]]) -> dict[int, int]:
    """As many pairs as can be (augmenting paths): by column, the row that it goes with."""
    rows: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column, fits in enumerate(edges[row]):
            if fits and column not in tried:
                tried.add(column)
                if column not in rows or place(rows[column], tried):
                    rows[column] = row
                    return True
        return False

    for row in range(len(edges)):
        place(row, set())
    return rows
