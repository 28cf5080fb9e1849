"""kai-tracing provider for In-memory: finished spans as a queryable list, for tests."""

from kai_tracing_inmemory.provider import InMemoryProvider
from kai_tracing_inmemory.store import SpanStore
from kai_tracing_inmemory.tree import SpanNode, SpanTree

__all__ = ["InMemoryProvider", "SpanNode", "SpanStore", "SpanTree"]
