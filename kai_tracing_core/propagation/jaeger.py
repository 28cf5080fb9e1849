"""Jaeger's own format: `uber-trace-id`, with baggage in headers of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from urllib.parse import unquote

from kai_tracing_core.propagation.baggage import encode_value, fitting, is_token
from kai_tracing_core.propagation.base import Headers, Propagator, merge
from kai_tracing_core.trace_context import DEBUG, DECISION_ONLY, SAMPLED, TraceContext

__all__ = ["JaegerPropagator"]

_PREFIX = "uberctx-"
_DEBUG_ID = "jaeger-debug-id"
_SAMPLED, _DEBUG = 0x01, 0x02
_match_ids = re.compile(
    r"([0-9a-fA-F]{1,32}):([0-9a-fA-F]{1,16}):[0-9a-fA-F]{0,16}:([0-9a-fA-F]{1,2})",
).fullmatch


class JaegerPropagator(Propagator):
    """`uber-trace-id: {trace}:{span}:{parent}:{flags}` (Jaeger, client libraries, "Propagation format").

    Baggage travels as `uberctx-{key}`, and is read from `jaeger-baggage: k1=v1, k2=v2`, too, which people write by
    hand. A `jaeger-debug-id` without ids starts a trace that is kept in any case; the id becomes baggage of the same
    name, so that it can be made an attribute to search for.
    """

    fields = ("uber-trace-id", _DEBUG_ID, "jaeger-baggage", _PREFIX + "*")

    def extract(self, headers: Headers, context: TraceContext | None) -> TraceContext | None:
        """The ids and the baggage. Short ids are filled up with zeros; several `uber-trace-id` are none."""
        values = headers.get("uber-trace-id", ())
        found = _parse_ids(values[0]) if len(values) == 1 else None
        baggage = dict(_baggage(headers))
        if found is None and headers.get(_DEBUG_ID):
            found = TraceContext(flags=DECISION_ONLY | SAMPLED | DEBUG, is_remote=True)
            baggage[_DEBUG_ID] = unquote(headers[_DEBUG_ID][0])
        if baggage:
            found = found or TraceContext(is_remote=True)
            found.baggage = {key: value for key, value, _ in fitting(baggage)}
        return merge(context, found) if found is not None else context

    def inject(self, context: TraceContext, carrier: MutableMapping[str, str]) -> None:
        """Write `uber-trace-id`, the parent's id as 0 (nobody reads it), and a header for each entry of the baggage."""
        if context._trace_id and context._span_id:
            flags = _SAMPLED if context._flags & SAMPLED else 0
            if context._flags & DEBUG:
                flags |= _DEBUG
            carrier["uber-trace-id"] = f"{context._trace_id:032x}:{context._span_id:016x}:0:{flags:02x}"
        if context.baggage:
            for key, value, _ in fitting(context.baggage):
                carrier[_PREFIX + key] = encode_value(value)


def _parse_ids(value: str) -> TraceContext | None:
    match = _match_ids(unquote(value.strip(" \t")))
    if match is None:
        return None
    flags = int(match[3], 16)
    internal = SAMPLED | DEBUG if flags & _DEBUG else SAMPLED if flags & _SAMPLED else 0
    found = TraceContext(match[1], match[2], internal, is_remote=True)
    return found if found.is_valid else None


def _baggage(headers: Headers) -> Iterator[tuple[str, str]]:
    for header in headers.get("jaeger-baggage", ()):
        for part in unquote(header).split(","):
            key, separator, value = part.strip().partition("=")
            if separator and is_token(key):
                yield key, value
    for name, values in headers.items():
        if name.startswith(_PREFIX) and name != _PREFIX:
            yield name[len(_PREFIX) :], unquote(values[-1])
