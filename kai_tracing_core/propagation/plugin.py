"""The built-in formats as plugins, registered in `kai_tracing.propagators` like a third party's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_tracing_core.propagation.composite import built_in_propagator

if TYPE_CHECKING:
    from kai_tracing_core.propagation.base import Propagator

__all__ = ["b3", "b3multi", "baggage", "jaeger", "tracecontext"]


class _Format:
    """A plugin that makes one built-in format."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self) -> Propagator:
        """Make it; there is nothing to configure."""
        return built_in_propagator(self._name)


tracecontext = _Format("tracecontext")
baggage = _Format("baggage")
b3 = _Format("b3")
b3multi = _Format("b3multi")
jaeger = _Format("jaeger")
