"""A trace as a tree in the terminal, and whether it is whole."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.text import Text
from rich.tree import Tree

from kai_tracing_core.demo.receiver import ReceivedSpan

__all__ = ["missing", "tree"]

_BAR = 24


def missing(spans: Sequence[ReceivedSpan], services: Collection[str]) -> list[str]:
    """What keeps the trace from being whole: parents, the far ends of calls, or `services` that are not in it."""
    known = {span.span_id for span in spans}
    roots = [span for span in spans if span.parent_id is None]
    answered = {span.parent_id for span in spans if span.kind == "SERVER"}
    found = [f"nothing of {service}" for service in sorted(set(services) - {span.service for span in spans})]
    if len(roots) != 1:
        found.append(f"{len(roots)} roots")
    for span in spans:
        if span.parent_id is not None and span.parent_id not in known:
            found.append(f"no parent of {span.name} ({span.service})")
        if span.kind == "CLIENT" and "url.full" in span.tags and span.span_id not in answered:
            found.append(f"no far end of {span.name} ({span.service})")
    return found


def tree(spans: Sequence[ReceivedSpan]) -> Tree:
    """The trace as a tree: name, service, duration, a bar for when it was, and the error if there was one, in red."""
    known = {span.span_id for span in spans}
    children: dict[str | None, list[ReceivedSpan]] = {}
    for span in sorted(spans, key=lambda span: span.start):
        children.setdefault(span.parent_id if span.parent_id in known else None, []).append(span)
    roots = children.get(None, [])
    begin = min((span.start for span in spans), default=0)
    length = max((span.start + span.duration - begin for span in spans), default=0) or 1
    width = max((_indent(span, spans) + len(span.name) for span in spans), default=0)

    def grow(branch: Tree, parent: str | None, depth: int) -> None:
        for span in children.get(parent, ()):
            grow(branch.add(_label(span, begin, length, width - 4 * depth)), span.span_id, depth + 1)

    top = Tree(Text(f"trace {roots[0].trace_id if roots else '?'}", style="dim"), guide_style="dim")
    grow(top, None, 0)
    return top


def _indent(span: ReceivedSpan, spans: Sequence[ReceivedSpan]) -> int:
    parents = {one.span_id: one.parent_id for one in spans}
    depth, parent, seen = 0, span.parent_id, set[str]()
    while parent in parents and parent not in seen:
        seen.add(parent)
        depth, parent = depth + 1, parents[parent]
    return 4 * depth


def _label(span: ReceivedSpan, begin: int, length: int, width: int) -> Text:
    style = "bold red" if span.failed else ""
    text = Text(span.name.ljust(width), style=style)
    text.append(f"  {span.service:<9}", style="red" if span.failed else "cyan")
    text.append(f"{span.duration / 1000:8.1f} ms  ", style=style)
    before = min(_BAR - 1, _BAR * (span.start - begin) // length)
    bar = min(_BAR - before, max(1, _BAR * span.duration // length))
    text.append((" " * before + "━" * bar).ljust(_BAR), style="red" if span.failed else "green")
    if span.failed:
        text.append(f"  {span.tags['error']}", style="red")
    return text
