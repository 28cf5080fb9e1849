"""W3C Trace Context and Baggage."""

from __future__ import annotations

import re
from collections.abc import MutableMapping

from kai_tracing_core.propagation.base import Headers, Propagator
from kai_tracing_core.trace_context import WIRE_FLAGS, TraceContext

__all__ = ["TraceContextPropagator"]

_TRACEPARENT = re.compile(r"[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?[ \t]*")


class TraceContextPropagator(Propagator):
    """`traceparent` and `tracestate` (W3C Trace Context, level 2)."""

    fields = ("traceparent", "tracestate")

    def extract(self, headers: Headers, context: TraceContext | None) -> TraceContext | None:
        """The context of the one valid `traceparent`."""
        values = headers.get("traceparent", ())
        match = _TRACEPARENT.fullmatch(values[0]) if len(values) == 1 else None
        if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
            return context
        found = TraceContext(match[2], match[3], int(match[4], 16) & WIRE_FLAGS, is_remote=True)
        if not found.is_valid:
            return context
        found._trace_state = ",".join(headers.get("tracestate", ()))
        return found

    def inject(self, context: TraceContext, carrier: MutableMapping[str, str]) -> None:
        """Write a version 00 `traceparent`, and `tracestate` where there is one."""
        if context._trace_id and context._span_id:
            carrier["traceparent"] = f"00-{context._trace_id:032x}-{context._span_id:016x}-{context.trace_flags:02x}"
            if context._trace_state:
                carrier["tracestate"] = context._trace_state
