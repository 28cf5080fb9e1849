"""The limit on a whole span's size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.span import Span

__all__ = ["SizeLimiter"]

_OVERHEAD = 16


class SizeLimiter(SpanProcessor):
    """Drops the largest attributes, then the last events and links, of a span that is over `SpanLimits.span_bytes`.

    The size is an estimate: the UTF-8 bytes of names, keys and texts, 8 for a number, and 16 for each entry. What
    is dropped is counted like what the other limits drop.
    """

    trusted = True

    def __init__(self, span_bytes: int) -> None:
        self._limit = span_bytes

    def on_ending(self, span: Span) -> None:
        """Cut the span down to the limit."""
        attributes = span._attributes
        sizes = {key: _OVERHEAD + _size(key) + _size(value) for key, value in attributes.items()}
        rest = sum(_entry_size(event.name, event.attributes) for event in span._events)
        rest += sum(_entry_size("", link.attributes) for link in span._links)
        total = _size(span.name) + rest + sum(sizes.values())
        while total > self._limit and sizes:
            largest = max(sizes, key=sizes.__getitem__)
            total -= sizes.pop(largest)
            del attributes[largest]
            span._drop(0)
        while total > self._limit and span._events:
            event = span._events.pop()
            total -= _entry_size(event.name, event.attributes)
            span._drop(1)
        while total > self._limit and span._links:
            total -= _entry_size("", span._links.pop().attributes)
            span._drop(2)


def _entry_size(name: str, attributes: Mapping[str, Any]) -> int:
    return _OVERHEAD + _size(name) + sum(_OVERHEAD + _size(key) + _size(value) for key, value in attributes.items())


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    if isinstance(value, (bytes, bytearray)):
        return len(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return sum(map(_size, value))
    return 8
