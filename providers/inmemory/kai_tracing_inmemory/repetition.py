"""N+1: a query for a list, then one more for each of its items."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kai_tracing_core.span import Span, SpanKind
from kai_tracing_inmemory.tree import SpanNode

__all__ = ["Repetition", "find_repetitions", "is_outgoing", "operation"]

_TEXTS = ("db.query.text", "db.statement", "url.full", "http.url", "rpc.method")
_PARAMETER = re.compile(
    r"""
      '(?:[^']|'')*'                                                   # a text of SQL
    | \b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b         # a UUID
    | \b(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{12,}\b                        # another id
    | (?<![\w.:])[-+]?\d+(?:\.\d+)?(?![\w.])                           # a number, but no port
    | (?<==)[^&\s'"]+                                                  # the value of a query parameter
    | %\(\w+\)s | %s | \$\d+ | (?<![\w:]):[A-Za-z_]\w*                 # what stands for a value already
    """,
    re.VERBOSE,
)
_LIST = re.compile(r"\(\s*\?(?:\s*,\s*\?)*\s*\)")


@dataclass(slots=True)
class Repetition:
    """The same `operation` at the same place of one trace: `path` is the names from its root to the parent."""

    operation: str
    path: tuple[str, ...]
    spans: list[Span] = field(default_factory=list)

    def __str__(self) -> str:
        """The place, how often, and the first ones as they were."""
        examples = "".join(f"\n    {_text(span)}" for span in self.spans[:3])
        more = "\n    ..." if len(self.spans) > 3 else ""
        return f"{len(self.spans)} x {self.operation}\n  under {' > '.join(self.path) or 'no parent'}{examples}{more}"


def find_repetitions(roots: Sequence[SpanNode], spans: Sequence[Span], threshold: int) -> list[Repetition]:
    """Which of `spans` are there at least `threshold` times, but for parameters; `roots` is the tree they are in.

    Those under different parents count together where the names of all their ancestors are the same, as when the
    query for each item stands in a span of its own. A retry of the same call does not count.
    """
    wanted = {id(span) for span in spans}
    groups: dict[tuple[str, SpanKind, tuple[str, ...], str], Repetition] = {}
    for span, path in _paths(roots):
        if id(span) in wanted and "http.request.resend_count" not in span.attributes:
            what = operation(span)
            key = (span.trace_id, span.kind, path, what)
            groups.setdefault(key, Repetition(what, path)).spans.append(span)
    return [group for group in groups.values() if len(group.spans) >= threshold]


def is_outgoing(span: Span) -> bool:
    """Whether the span is a call to something else: a client's, a producer's, or a database's."""
    return span.kind in (SpanKind.CLIENT, SpanKind.PRODUCER) or any(key.startswith("db.") for key in span.attributes)


def operation(span: Span) -> str:
    """What the span does, without the parameters: its name and, where there is one, its query or address."""
    shape = _LIST.sub("(?)", _PARAMETER.sub("?", _text(span)))
    name = _PARAMETER.sub("?", span.name)
    return shape if shape.startswith(name) else f"{name}: {shape}"


def _text(span: Span) -> str:
    attributes = span.attributes
    text = next((str(attributes[key]) for key in _TEXTS if attributes.get(key)), span.name)
    return " ".join(text.split())


def _paths(roots: Sequence[SpanNode]) -> Iterator[tuple[Span, tuple[str, ...]]]:
    """Every span with the names of its ancestors, the root's first."""
    pending: list[tuple[SpanNode, tuple[str, ...]]] = [(node, ()) for node in reversed(roots)]
    while pending:
        node, path = pending.pop()
        yield node.span, path
        below = (*path, _PARAMETER.sub("?", node.span.name))
        pending.extend((child, below) for child in reversed(node.children))
