"""Spans that do not say when they began, which Zipkin's formats allow: reports of one side of a call, mostly.

They are kept, as Zipkin keeps them. A store of days needs a time, so they get that of what is nearest to them among the
spans that came with them: the other half of the call, else their parent, else the first of their trace; where there is
none, the time of arrival, which the flag `ARRIVAL` tells, so that a retry is known for one. The attribute
`NO_TIMESTAMP` tells that it is a guess.
"""

from __future__ import annotations

from collections.abc import Sequence

from kai_tracing_backend.columns import ARRIVAL, SHARED, SpanColumns

__all__ = ["guess_starts"]


def guess_starts(columns: SpanColumns, arrival: int) -> None:
    """Give every span that was added with the start 0 one, in nanoseconds."""
    spans = columns.keys()
    if all(start for _, _, _, start, _ in spans):
        return
    known = _first_starts(spans)
    for row, (trace_id, span_id, parent_id, start, kind) in enumerate(spans):
        if start:
            continue
        other_half = known.get(trace_id + span_id)
        parent = known.get(trace_id + parent_id.to_bytes(8, "big"))
        # One that says no kind is no call of its own: it is under what has its id.
        flags = SHARED if other_half and not kind else 0
        if guess := other_half or parent or known.get(trace_id):
            columns.begin(row, guess, flags)
        else:
            columns.begin(row, arrival, ARRIVAL)


def _first_starts(spans: Sequence[tuple[bytes, bytes, int, int, int]]) -> dict[bytes, int]:
    """By trace, and by trace and span, when the first began."""
    known: dict[bytes, int] = {}
    for trace_id, span_id, _, start, _ in spans:
        if start:
            for key in (trace_id, trace_id + span_id):
                known[key] = min(start, known.get(key, start))
    return known
