"""B3, the format of Zipkin (openzipkin/b3-propagation), in one header or in several."""

from __future__ import annotations

import re
from collections.abc import MutableMapping

from kai_tracing_core.propagation.base import Headers, Propagator, merge
from kai_tracing_core.trace_context import DEBUG, DECISION_ONLY, DEFERRED, SAMPLED, TraceContext

__all__ = ["B3MultiPropagator", "B3Propagator"]

_TRACE_ID = r"(?:[0-9a-fA-F]{16}){1,2}"
_SPAN_ID = r"[0-9a-fA-F]{16}"
_match_single = re.compile(f"({_TRACE_ID})-({_SPAN_ID})(?:-([01d])(?:-{_SPAN_ID})?)?").fullmatch
_match_trace_id = re.compile(_TRACE_ID).fullmatch
_match_span_id = re.compile(_SPAN_ID).fullmatch

# No decision at all is what B3 calls "defer".
_STATES = {"0": 0, "1": SAMPLED, "d": SAMPLED | DEBUG}
_SAMPLED = {"0": 0, "1": SAMPLED, "false": 0, "true": SAMPLED}


class _B3(Propagator):
    """Reads both encodings, the single header first."""

    fields = ("b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags")

    def extract(self, headers: Headers, context: TraceContext | None) -> TraceContext | None:
        """The ids, or the decision that came without ids."""
        found = _parse_single(_first(headers, "b3")) or _parse_multiple(headers)
        return merge(context, found) if found is not None else context


class B3Propagator(_B3):
    """Writes `b3: {trace}-{span}-{decision}`, or the decision alone where there are no ids."""

    def inject(self, context: TraceContext, carrier: MutableMapping[str, str]) -> None:
        """Write `b3`; never the parent's id, which is of no use to a receiver that makes a span of its own."""
        state = _state(context._flags)
        if context._trace_id and context._span_id:
            ids = f"{context._trace_id:032x}-{context._span_id:016x}"
            carrier["b3"] = f"{ids}-{state}" if state else ids
        elif context._flags & DECISION_ONLY:
            carrier["b3"] = state


class B3MultiPropagator(_B3):
    """Writes `X-B3-TraceId`, `X-B3-SpanId`, and `X-B3-Sampled` or, for a debug trace, `X-B3-Flags`."""

    def inject(self, context: TraceContext, carrier: MutableMapping[str, str]) -> None:
        """Write the headers that B3 has for what the context has; their names in lowercase."""
        identified = context._trace_id and context._span_id
        if identified:
            carrier["x-b3-traceid"] = f"{context._trace_id:032x}"
            carrier["x-b3-spanid"] = f"{context._span_id:016x}"
        state = _state(context._flags)
        if state == "d":
            carrier["x-b3-flags"] = "1"
        elif state and (identified or context._flags & DECISION_ONLY):
            carrier["x-b3-sampled"] = state


def _state(flags: int) -> str:
    if flags & DEBUG:
        return "d"
    if flags & DEFERRED:
        return ""
    return "1" if flags & SAMPLED else "0"


def _parse_single(value: str) -> TraceContext | None:
    if value in _STATES:
        return _decision(_STATES[value])
    match = _match_single(value)
    return _identified(match[1], match[2], _STATES.get(match[3] or "")) if match else None


def _parse_multiple(headers: Headers) -> TraceContext | None:
    flags = _SAMPLED.get(_first(headers, "x-b3-sampled").lower())
    if _first(headers, "x-b3-flags") == "1":
        flags = SAMPLED | DEBUG
    trace_id, span_id = _first(headers, "x-b3-traceid"), _first(headers, "x-b3-spanid")
    found = None
    if _match_trace_id(trace_id) and _match_span_id(span_id):
        found = _identified(trace_id, span_id, flags)
    return found if found is not None or flags is None else _decision(flags)


def _identified(trace_id: str, span_id: str, flags: int | None) -> TraceContext | None:
    found = TraceContext(trace_id, span_id, DEFERRED if flags is None else flags, is_remote=True)
    return found if found.is_valid else None


def _decision(flags: int) -> TraceContext:
    return TraceContext(flags=flags | DECISION_ONLY, is_remote=True)


def _first(headers: Headers, name: str) -> str:
    """Of a repeated header the first value wins, as B3 has it."""
    values = headers.get(name)
    return values[0].strip(" \t") if values else ""
