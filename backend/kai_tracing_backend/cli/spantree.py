"""The spans of a trace, from the API's documents, in the order of a tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Row", "Span", "tree"]

_SERVER, _CLIENT = 2, 3
_ERROR = 2
_ROOT = ""


@dataclass(frozen=True)
class Span:
    """What a line shows of a span; times are in nanoseconds. `document` is all that the API says of it."""

    span_id: str
    parent_id: str
    name: str
    service: str
    kind: int
    start: int
    duration: int
    failed: bool
    document: Mapping[str, Any]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Span:
        """From a span of `GET /api/v1/traces/{id}`."""
        start = int(document["startTimeUnixNano"])
        return cls(
            document["spanId"],
            document.get("parentSpanId") or _ROOT,
            document.get("name", ""),
            document.get("service", ""),
            document.get("kind", 0),
            start,
            int(document["endTimeUnixNano"]) - start,
            document.get("status", {}).get("code") == _ERROR,
            document,
        )


@dataclass(frozen=True)
class Row:
    """A span in its place. `guides` are the lines that lead to it, two characters for each level above."""

    span: Span
    guides: str

    @property
    def below(self) -> str:
        """The guides of what stands beneath the span's line."""
        return self.guides.translate({ord("├"): "│", ord("└"): " "})


def tree(documents: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Every span once, each behind its parent, siblings by start.

    Where the parent is not there the span stands at the left. Both halves of a call may share an id, as Zipkin's do:
    the server's then stands below the client's, and has the children.
    """
    spans = sorted((Span.of(document) for document in documents), key=lambda span: (span.start, -span.duration))
    children = _children(spans)
    rows: list[Row] = []
    placed: set[int] = set()
    # What only circles lead to begins with its earliest.
    for first in [*children.get(None, ()), *range(len(spans))]:
        waiting = [(first, "", "")]
        while waiting:
            index, guides, ahead = waiting.pop()
            if index in placed:
                continue
            placed.add(index)
            rows.append(Row(spans[index], guides))
            below = [child for child in children.get(index, ()) if child not in placed]
            for child in reversed(below):
                last = child == below[-1]
                waiting.append((child, ahead + ("└ " if last else "├ "), ahead + ("  " if last else "│ ")))
    return rows


def _children(spans: Sequence[Span]) -> dict[int | None, list[int]]:
    """By a span's index those of its children, by None those of the spans whose parent is not there."""
    by_id: dict[str, list[int]] = {}
    for index, span in enumerate(spans):
        by_id.setdefault(span.span_id, []).append(index)
    for same in by_id.values():
        same.sort(key=lambda index: spans[index].kind == _SERVER)
    children: dict[int | None, list[int]] = {}
    for index, span in enumerate(spans):
        same = by_id[span.span_id]
        if span.kind == _SERVER and spans[same[0]].kind == _CLIENT:
            parent: int | None = same[0]
        else:
            parent = by_id[span.parent_id][-1] if span.parent_id in by_id else None
        children.setdefault(parent, []).append(index)
    return children
