"""Where finished spans are kept."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from re import Pattern
from typing import Any, ClassVar

from kai_tracing_core.processing import lifecycle
from kai_tracing_core.processing.processor import SpanProcessor, Stats
from kai_tracing_core.span import Span, SpanKind, SpanStatusCode
from kai_tracing_core.trace_context import SAMPLED
from kai_tracing_inmemory.tree import SpanTree, build_tree, find_roots

__all__ = ["SpanStore"]


class SpanStore(SpanProcessor):
    """Keeps the last `capacity` finished spans in the order of their ends. May be used from any thread."""

    trusted: ClassVar[bool] = True

    keep_open = False
    """Whether it takes spans even after `shutdown`, because it is to outlive its provider."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._spans: deque[Span] = deque(maxlen=capacity)
        self._capacity = capacity
        self._closed = False
        self._reset()
        lifecycle.register_fork(self)

    def _reset(self) -> None:
        # Reentrant, since a span may end in a signal handler or in __del__ while this thread holds the lock.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting = 0
        self._kept = 0
        self._dropped: Counter[str] = Counter()

    # -- what the pipeline calls -------------------------------------------------------------------------------------

    def on_end(self, span: Span) -> None:
        """Keep the span, at the cost of the oldest one when there are too many."""
        with self._lock:
            if not span._flags & SAMPLED:
                self._dropped["not_sampled"] += 1
            elif self._closed:
                if self.successor is not None:
                    self.successor(span)
                else:
                    self._dropped["shut_down"] += 1
            else:
                if len(self._spans) == self._capacity:
                    self._dropped["capacity"] += 1
                    self._kept -= 1
                self._spans.append(span)
                self._kept += 1
                if self._waiting:
                    self._changed.notify_all()

    def shutdown(self, timeout: float) -> bool:
        """Take no more spans. Those that are here can still be read."""
        self._closed = not self.keep_open
        return True

    def stats(self) -> Stats:
        """`exported` are those that were kept and not dropped since, whether or not `clear` removed them."""
        with self._lock:
            kept, dropped = self._kept, dict(self._dropped)
        return Stats(ended=kept + sum(dropped.values()), exported=kept, dropped=dropped)

    def after_fork(self) -> None:
        """In a forked child: count from zero and keep nothing of the parent's."""
        self._spans.clear()
        self._reset()

    # -- what tests ask ----------------------------------------------------------------------------------------------

    @property
    def spans(self) -> list[Span]:
        """The finished spans, in the order of their ends."""
        with self._lock:
            return list(self._spans)

    def find(
        self,
        name: str | Pattern[str] | None = None,
        *,
        kind: SpanKind | None = None,
        attributes: Mapping[str, Any] | None = None,
        status: SpanStatusCode | None = None,
        trace_id: str | None = None,
    ) -> list[Span]:
        """The finished spans that are as described, in the order of their ends.

        A compiled pattern may match anywhere in the name. Of the attributes all that are given must be there and equal.
        """
        return [
            span
            for span in self.spans
            if (name is None or (name == span.name if isinstance(name, str) else name.search(span.name)))
            and kind in (None, span.kind)
            and status in (None, span.status)
            and trace_id in (None, span.trace_id)
            and _has(span, attributes or {})
        ]

    def get(self, name: str | Pattern[str] | None = None, **criteria: Any) -> Span:
        """The one span that is as described, as for `find`.

        Raises:
            LookupError: there is none or more than one; the message shows what there is.
        """
        found = self.find(name, **criteria)
        if len(found) != 1:
            raise LookupError(f"{len(found)} spans match {_wanted(name, criteria)}; there are:\n{self.tree()}")
        return found[0]

    def roots(self) -> list[Span]:
        """The spans without a parent here, in the order of their ends: the beginnings of traces."""
        return find_roots(self.spans)

    def tree(self, trace_id: str | None = None) -> SpanTree:
        """All traces, or one, as trees: `print(provider.tree())`."""
        return build_tree(self.find(trace_id=trace_id))

    def wait_for(
        self, name: str | Pattern[str] | None = None, *, count: int = 1, timeout: float = 5.0, **criteria: Any
    ) -> list[Span]:
        """The spans that are as described, as for `find`, once there are at least `count`.

        Raises:
            TimeoutError: there are fewer after `timeout` seconds; the message shows what there is.
        """
        with self._changed:
            self._waiting += 1
            try:
                if self._changed.wait_for(lambda: len(self.find(name, **criteria)) >= count, timeout):
                    return self.find(name, **criteria)
            finally:
                self._waiting -= 1
            found = self.find(name, **criteria)
            wanted = _wanted(name, criteria)
        raise TimeoutError(f"{len(found)} of {count} spans match {wanted} after {timeout} s; there are:\n{self.tree()}")

    def clear(self) -> None:
        """Forget the finished spans."""
        with self._lock:
            self._spans.clear()


def _wanted(name: str | Pattern[str] | None, criteria: Mapping[str, Any]) -> str:
    parts = [repr(name)] * (name is not None) + [f"{key}={value!r}" for key, value in criteria.items()]
    return f"({', '.join(parts)})"


def _has(span: Span, wanted: Mapping[str, Any]) -> bool:
    if not wanted:
        return True
    attributes = span.attributes
    return all(key in attributes and attributes[key] == value for key, value in wanted.items())
