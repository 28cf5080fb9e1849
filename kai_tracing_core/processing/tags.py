"""Spans for formats that have tags only (OpenTelemetry specification, "Mapping to non-OTLP formats")."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from time import perf_counter, sleep
from typing import Any

from kai_tracing_core.attributes import AttributeValue, clean_attributes
from kai_tracing_core.sampling.threshold import read
from kai_tracing_core.span import Event, Span

__all__ = [
    "ADJUSTED_COUNT",
    "events_of",
    "in_slices",
    "list_as_json",
    "slices",
    "tags_of",
    "untold_count",
    "valid_text",
]

ADJUSTED_COUNT = "sampling.adjusted_count"
"""The attribute that says how many spans one stands for, where `tracestate` does not."""

_SLICE = 32
_AT_A_STRETCH = 0.0005  # seconds
_STATUS = ("", "OK", "ERROR")
_DROPPED = ("otel.dropped_attributes_count", "otel.dropped_events_count", "otel.dropped_links_count")


def tags_of(span: Span) -> dict[str, AttributeValue]:
    """The attributes as they are exported, and as tags what these formats have no field for.

    That is the status code, the scope, the trace state and the dropped counts; not the status message, for which
    every format has a tag of its own.
    """
    shared = span._shared
    limits = shared.sink.limits
    tags, dropped = clean_attributes(span._attributes, limits.attributes, limits.value_length)
    rare = span._rare
    if dropped or rare is not None:
        lost = span._dropped
        for name, count in zip(_DROPPED, (lost[0] + dropped, lost[1], lost[2]), strict=True):
            if count:
                tags[name] = count
    if rare is not None and rare.status:
        tags["otel.status_code"] = _STATUS[rare.status]
    if (stands_for := untold_count(span)) is not None:
        tags[ADJUSTED_COUNT] = stands_for
    if shared.trace_state:
        tags["w3c.tracestate"] = shared.trace_state
    scope = getattr(span, "_scope", None)
    if scope is not None:
        tags["otel.scope.name"] = scope.name
        if scope.version:
            tags["otel.scope.version"] = scope.version
    return tags


def untold_count(span: Span) -> float | None:
    """The adjusted count (`Span.adjusted_count`) that the backend would not know: neither 1 nor in `tracestate`."""
    weight = span._shared.weight
    if weight is None or weight == 1.0 or read(span._shared.trace_state).th is not None:
        return None
    return weight


def events_of(span: Span) -> Iterator[Event]:
    """The events, with attributes as they are exported."""
    limits = span._sink.limits
    for name, at, attributes in span._events:
        kept = (
            clean_attributes(attributes, limits.event_attributes, limits.value_length)[0] if attributes else attributes
        )
        yield Event(valid_text(name), at, kept)


def valid_text(value: Any) -> str:
    """A name or a message as a string that can be encoded: of `str`, without lone surrogates."""
    if type(value) is str and value.isascii():
        return value
    return str(value).encode("utf-8", "replace").decode()


def list_as_json(value: Any) -> str:
    """A list value as one string."""
    return json.dumps(value, ensure_ascii=False)


def slices(spans: Sequence[Span]) -> Iterator[Sequence[Span]]:
    """The spans by 32, with pauses in which other threads run: the application's stalls stay short.

    A pause costs as much as a dozen spans do (from Python 3.11 on), so there is one every half a millisecond.
    """
    pause_at = perf_counter() + _AT_A_STRETCH
    for start in range(0, len(spans), _SLICE):
        yield spans[start : start + _SLICE]
        if perf_counter() >= pause_at:
            sleep(0)
            pause_at = perf_counter() + _AT_A_STRETCH


def in_slices(spans: Sequence[Span]) -> Iterator[Span]:
    """The spans one by one, with the pauses of `slices`."""
    for some in slices(spans):
        yield from some
