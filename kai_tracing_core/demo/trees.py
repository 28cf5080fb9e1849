"""A trace as a tree in the terminal, and whether it is whole."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text
from rich.tree import Tree

from kai_tracing_core.demo.receiver import ReceivedSpan

__all__ = ["missing", "tree"]

_BAR = 24
_INDENT = 4


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


def tree(spans: Sequence[ReceivedSpan], room: int = 160) -> Tree:
    """The trace as a tree: name, service, duration, a bar for when it was, and the error if there was one, in red.

    `room` is how many characters a line may have.
    """
    known = {span.span_id for span in spans}
    children: dict[str | None, list[ReceivedSpan]] = {}
    for span in sorted(spans, key=lambda span: span.start):
        children.setdefault(span.parent_id if span.parent_id in known else None, []).append(span)
    rows = list(_rows(children, None, 1))
    layout = _Layout(
        begin=min((span.start for span in spans), default=0),
        end=max((span.start + span.duration for span in spans), default=0),
        names=max((_INDENT * depth + len(span.name) for depth, span in rows), default=0),
        services=max((len(span.service) for span in spans), default=0),
        room=room,
    )
    title = Text(f"trace {spans[0].trace_id if spans else '?'}", style="dim", no_wrap=True, overflow="ellipsis")
    top = Tree(title, guide_style="dim")
    branches = [top]
    for depth, span in rows:
        del branches[depth:]
        branches.append(branches[-1].add(layout.line(span, depth)))
    return top


def _rows(
    children: Mapping[str | None, Sequence[ReceivedSpan]], parent: str | None, depth: int
) -> Iterator[tuple[int, ReceivedSpan]]:
    for span in children.get(parent, ()):
        yield depth, span
        yield from _rows(children, span.span_id, depth + 1)


@dataclass(frozen=True)
class _Layout:
    """The columns of a tree; times are in microseconds, the rest is in characters."""

    begin: int
    end: int
    names: int
    services: int
    room: int

    def line(self, span: ReceivedSpan, depth: int) -> Text:
        """A span's line behind the guides of the tree."""
        style = "bold red" if span.failed else ""
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(span.name.ljust(self.names - _INDENT * depth), style)
        text.append(f"  {span.service:<{self.services}}", "red" if span.failed else "cyan")
        text.append(f"{span.duration / 1000:9.1f} ms  ", style)
        text.append(self._bar(span), "red" if span.failed else "green")
        if span.failed:
            text.append(f"  {span.tags['error']}", "red")
        return text

    def _bar(self, span: ReceivedSpan) -> str:
        width = min(_BAR, self.room - self.names - self.services - 18)
        if width < 1:
            return ""
        length = max(1, self.end - self.begin)
        before = min(width - 1, width * (span.start - self.begin) // length)
        bar = min(width - before, max(1, width * span.duration // length))
        return (" " * before + "━" * bar).ljust(width)
