"""kai-tracing provider for In-memory: finished spans as a queryable list, and the test kit that stands on it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kai_tracing_inmemory.assertions import SpanAssertions
    from kai_tracing_inmemory.capture import CapturedSpans, capture_spans
    from kai_tracing_inmemory.provider import InMemoryProvider
    from kai_tracing_inmemory.store import SpanStore
    from kai_tracing_inmemory.tree import SpanNode, SpanTree

__all__ = [
    "CapturedSpans",
    "InMemoryProvider",
    "SpanAssertions",
    "SpanNode",
    "SpanStore",
    "SpanTree",
    "capture_spans",
]

# Imported when they are asked for: every pytest run of an environment imports this package for its plugin.
_LAZY = {
    "CapturedSpans": "capture",
    "InMemoryProvider": "provider",
    "SpanAssertions": "assertions",
    "SpanNode": "tree",
    "SpanStore": "store",
    "SpanTree": "tree",
    "capture_spans": "capture",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
