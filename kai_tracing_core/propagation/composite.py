"""Several formats at once, and the built-in ones by name."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

from kai_tracing_core.propagation.base import Headers, Propagator
from kai_tracing_core.propagation.w3c import BaggagePropagator, TraceContextPropagator
from kai_tracing_core.trace_context import TraceContext

__all__ = ["BUILT_IN", "CompositePropagator", "built_in_propagator", "default_propagator"]

BUILT_IN = ("tracecontext", "baggage", "b3", "b3multi", "jaeger")
"""The names that `TRACING_PROPAGATORS` knows without a plugin; they are OpenTelemetry's."""


class CompositePropagator(Propagator):
    """Reads every format, the first that finds ids winning, and writes all of them. Baggage is added up."""

    def __init__(self, propagators: Sequence[Propagator]) -> None:
        self.propagators = tuple(propagators)
        self._inject = tuple(propagator.inject for propagator in self.propagators)
        self._inject_ids = tuple(
            propagator.inject for propagator in self.propagators if type(propagator) is not BaggagePropagator
        )
        self._extract_plain = tuple(propagator.extract_plain for propagator in self.propagators)
        names = [propagator.fields for propagator in self.propagators]
        # One that does not say which headers it reads must be given them all.
        self.fields = tuple(dict.fromkeys(sum(names, ()))) if all(names) else ()

    def extract(self, headers: Headers, context: TraceContext | None) -> TraceContext | None:
        """What the formats find, each adding to what those before it found."""
        if headers:
            for propagator in self.propagators:
                context = propagator.extract(headers, context)
        return context

    def extract_plain(self, carrier: dict[str, Any], context: TraceContext | None) -> TraceContext | None:
        """The same of a dictionary that can be asked."""
        for extract in self._extract_plain:
            context = extract(carrier, context)
        return context

    def inject(self, context: TraceContext, carrier: MutableMapping[str, str]) -> None:
        """Write every format."""
        for inject in self._inject if context.baggage else self._inject_ids:
            inject(context, carrier)


def built_in_propagator(name: str) -> Propagator:
    """The built-in format of this name.

    Raises:
        ValueError: there is none.
    """
    if name == "tracecontext":
        return TraceContextPropagator()
    if name == "baggage":
        return BaggagePropagator()
    if name in {"b3", "b3multi"}:
        from kai_tracing_core.propagation.b3 import B3MultiPropagator, B3Propagator

        return B3Propagator() if name == "b3" else B3MultiPropagator()
    if name == "jaeger":
        from kai_tracing_core.propagation.jaeger import JaegerPropagator

        return JaegerPropagator()
    raise ValueError(f"no propagation format is called {name!r}; there are {', '.join(BUILT_IN)}")


def default_propagator(names: Sequence[str]) -> Propagator:
    """The built-in formats of these names, in this order; for an empty list, one that reads and writes nothing.

    Raises:
        ValueError: there is no built-in format of one of the names.
    """
    propagators = [built_in_propagator(name) for name in names]
    return propagators[0] if len(propagators) == 1 else CompositePropagator(propagators)
