"""Baggage as span attributes."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from kai_tracing_core.processing.processor import SpanProcessor

if TYPE_CHECKING:
    from kai_tracing_core.span import Span
    from kai_tracing_core.trace_context import TraceContext

__all__ = ["BaggageProcessor"]


class BaggageProcessor(SpanProcessor):
    """Copies the baggage that is current where a span starts to the span's attributes, under the same keys.

    Only keys that match one of `allowed` (`tenant.id`, `shop.*`) are copied: baggage comes from whoever sent the
    request. For the same reason it never replaces an attribute that the application gave.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = tuple(allowed)

    def on_start(self, span: Span, parent: TraceContext | None) -> None:
        """Copy what is allowed."""
        baggage = span._baggage()
        for key in baggage:
            if key not in span._attributes and any(fnmatchcase(key, pattern) for pattern in self._allowed):
                span.set_attribute(key, str(baggage[key]))
