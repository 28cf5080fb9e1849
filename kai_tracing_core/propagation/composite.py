"""Several formats at once."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence

from kai_tracing_core.propagation.base import Headers, Propagator
from kai_tracing_core.propagation.w3c import TraceContextPropagator
from kai_tracing_core.trace_context import TraceContext

__all__ = ["CompositePropagator", "default_propagator"]


class CompositePropagator(Propagator):
    """Reads every format, the first that finds ids winning, and writes all of them."""

    def __init__(self, propagators: Sequence[Propagator]) -> None:
        self.propagators = tuple(propagators)
        self.fields = tuple(dict.fromkeys(name for propagator in self.propagators for name in propagator.fields))

    def extract(self, headers: Headers, context: TraceContext | None) -> TraceContext | None:
        """What the formats find, each adding to what those before it found."""
        for propagator in self.propagators:
            context = propagator.extract(headers, context)
        return context

    def inject(self, context: TraceContext, carrier: MutableMapping[str, str]) -> None:
        """Write every format."""
        for propagator in self.propagators:
            propagator.inject(context, carrier)


def default_propagator(names: Sequence[str]) -> Propagator:
    """The built-in formats of these names, in this order."""
    return CompositePropagator([TraceContextPropagator()])
