"""The spans of a trace with how they stand to one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kai_tracing_backend.columns import SHARED
from kai_tracing_backend.model import ServiceCount, StoredSpan, TraceSummary

__all__ = ["Trace"]


class Trace:
    """A trace as queries see it. Spans are meant by their index in `spans`, which are sorted by start.

    `parents` has the index of each span's parent; None where there is none, or it was not received.
    """

    def __init__(self, spans: Sequence[StoredSpan]) -> None:
        self.spans = sorted(spans, key=lambda span: (span.start_time, -span.duration, span.span_id, span.kind))
        self.parents = self._parents()
        counts = Counter(self.parents)
        self.child_counts = [counts[index] for index in range(len(self.spans))]
        self.start = self.spans[0].start_time
        self.duration = max(span.start_time + span.duration for span in self.spans) - self.start
        self.root = next((span for span in self.spans if span.parent_id is None), None)

    def _parents(self) -> list[int | None]:
        own: dict[str, int] = {}
        halves: dict[str, int] = {}
        for index, span in enumerate(self.spans):
            (halves if span.flags & SHARED else own).setdefault(span.span_id, index)
        found: list[int | None] = []
        for index, span in enumerate(self.spans):
            parent = None
            if span.flags & SHARED:
                parent = own.get(span.span_id)
            if parent is None and span.parent_id is not None:
                parent = halves.get(span.parent_id, own.get(span.parent_id))
            found.append(None if parent == index else parent)
        return found

    def summary(self) -> TraceSummary:
        """The trace in a list."""
        first = self.root or self.spans[0]
        spans = Counter(span.service for span in self.spans)
        errors = Counter(span.service for span in self.spans if span.status == 2)
        return TraceSummary(
            trace_id=first.trace_id,
            service=first.service,
            name=first.name,
            start_time=self.start,
            duration=self.duration,
            spans=len(self.spans),
            errors=sum(errors.values()),
            services={name: ServiceCount(count, errors[name]) for name, count in sorted(spans.items())},
        )
