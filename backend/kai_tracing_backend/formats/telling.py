"""Spans that say themselves what they stand for, for formats that have no adjusted count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from kai_tracing_backend.model import StoredSpan
from kai_tracing_core.processing.tags import ADJUSTED_COUNT
from kai_tracing_core.sampling.threshold import known_count, with_threshold

__all__ = ["telling"]


def telling(spans: Iterable[StoredSpan], *, stateless: bool = False) -> Iterator[StoredSpan]:
    """The spans, each with its adjusted count told by its trace state's `th`, else by an attribute.

    A span that tail sampling kept lost its `th`, which did not hold any more: only the store knew its count. A format
    is `stateless` that has no place for trace state.
    """
    for span in spans:
        state, count = "" if stateless else span.trace_state, span.adjusted_count
        told = known_count(state, int(span.trace_id, 16)) if state else None
        if told == count or (told is None and span.attributes.get(ADJUSTED_COUNT, 1.0) == count):
            yield span
            continue
        attributes = {**span.attributes, ADJUSTED_COUNT: count}
        yield replace(span, trace_state=with_threshold(state, None) if told else state, attributes=attributes)
