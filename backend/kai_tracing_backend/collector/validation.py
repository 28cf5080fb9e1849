"""What a span must be to be stored, whatever format it came in; each fault is a ValueError that names the field."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

from kai_tracing_backend.values import Value
from kai_tracing_core.processing.tags import ADJUSTED_COUNT
from kai_tracing_core.sampling.threshold import known_count

__all__ = [
    "MAX_ATTRIBUTES",
    "MAX_EVENTS",
    "MAX_LINKS",
    "MAX_REJECTED",
    "MAX_TEXT",
    "UNKNOWN_SERVICE",
    "Accepted",
    "check_attributes",
    "check_ids",
    "check_link",
    "check_times",
    "check_too_many",
    "weight",
]

UNKNOWN_SERVICE = "unknown_service"
"""What a resource without `service.name` is called (resource semantic conventions)."""

MAX_ATTRIBUTES = 1_000
MAX_EVENTS = 10_000
MAX_LINKS = 1_000
MAX_TEXT = 1 << 20
"""Characters of one name or value."""

MAX_REJECTED = 100_000
"""Spans of a request that may be left out; one with more is none."""

_EARLIEST = 946_684_800_000_000_000  # 2000: whatever says less has no clock
_AHEAD = 86_400_000_000_000
_LONGEST = 366 * 86_400_000_000_000
_MAX_WEIGHT = 1e15
_SMALL = (int, float, bool)
_NO_TRACE = bytes(16)
_NO_SPAN = bytes(8)


class Accepted:
    """How a request went: how many spans are good, how many are not, and why."""

    def __init__(self) -> None:
        self.valid = 0
        self.rejected = 0
        self.classes: Counter[str] = Counter()  # by a word of `_CLASSES`
        self._reasons: dict[str, int] = {}

    def reject(self, reason: object, spans: int = 1) -> None:
        """Count spans that are left out.

        Raises:
            ValueError: these are more than `MAX_REJECTED`, so that nobody need look at the others.
        """
        self._count(str(reason)[:300], spans)
        if self.rejected > MAX_REJECTED:
            raise ValueError(f"more than {MAX_REJECTED} spans are not valid: {self.message}")

    def _count(self, reason: str, spans: int) -> None:
        self.rejected += spans
        self.classes[_class_of(reason)] += spans
        if reason in self._reasons or len(self._reasons) < 5:
            self._reasons[reason] = self._reasons.get(reason, 0) + spans

    def add(self, other: Accepted) -> None:
        """Count what another part of the same request left out."""
        for reason, spans in other._reasons.items():
            self._count(reason, spans)
        self.rejected += other.rejected - sum(other._reasons.values())  # those whose reasons were too many

    @property
    def message(self) -> str:
        """Why, the first few reasons; empty where all is well."""
        return "; ".join(
            f"{reason} ({count} spans)" if count > 1 else reason for reason, count in self._reasons.items()
        )


# What a reason's text has, and what it is counted as.
_CLASSES = (
    ("longer than a year", "time"),
    ("more than a day", "time"),
    ("before the year", "time"),
    ("longer than", "size"),
    ("more than", "size"),
    ("time", "time"),
    ("duration", "time"),
    ("trace_id", "id"),
    ("traceId", "id"),
    ("span_id", "id"),
    ("spanId", "id"),
    ("hexadecimal", "id"),
)


@lru_cache(maxsize=64)
def _class_of(reason: str) -> str:
    """Which kind of fault it is, out of few, for metrics: size, time, id or other."""
    return next((word for sign, word in _CLASSES if sign in reason), "other")


def check_ids(trace_id: bytes, span_id: bytes, parent_id: bytes) -> None:
    """Ids of 16 and 8 bytes that are not all zero (W3C Trace Context, section 3.2.2); the parent's may be missing."""
    if len(trace_id) != 16:
        raise ValueError(f"trace_id must have 16 bytes, not {len(trace_id)}")
    if len(span_id) != 8:
        raise ValueError(f"span_id must have 8 bytes, not {len(span_id)}")
    if len(parent_id) not in (0, 8):
        raise ValueError(f"parent_span_id must have 8 bytes or none, not {len(parent_id)}")
    if trace_id == _NO_TRACE:
        raise ValueError("trace_id must not be all zero")
    if span_id == _NO_SPAN:
        raise ValueError("span_id must not be all zero")


def check_link(trace_id: bytes, span_id: bytes) -> None:
    """Ids of 16 and 8 bytes; all zero is what an SDK sends that links to nothing but with attributes."""
    if len(trace_id) != 16:
        raise ValueError(f"a link's trace_id must have 16 bytes, not {len(trace_id)}")
    if len(span_id) != 8:
        raise ValueError(f"a link's span_id must have 8 bytes, not {len(span_id)}")


def check_times(start: int, end: int) -> None:
    """A start between 2000 and tomorrow, an end not before it and at most a year after. Nanoseconds."""
    if not start:
        raise ValueError("start_time is missing")
    if start < _EARLIEST:
        raise ValueError("start_time is before the year 2000")
    if start > time.time_ns() + _AHEAD:
        raise ValueError("start_time is more than a day in the future")
    if end < start:
        raise ValueError("end_time is missing" if not end else "end_time is before start_time")
    if end - start > _LONGEST:
        raise ValueError("the span is longer than a year")


def check_attributes(attributes: Mapping[str, Value]) -> None:
    """Not too many, none too long."""
    if len(attributes) > MAX_ATTRIBUTES:
        raise ValueError(f"{len(attributes)} attributes are more than {MAX_ATTRIBUTES}")
    for key, value in attributes.items():
        kind = type(value)
        size = len(value) if kind is str else 0 if kind in _SMALL else _size(value)  # type: ignore[arg-type]  # a str
        if size > MAX_TEXT or len(key) > MAX_TEXT:
            raise ValueError(f"the attribute {key[:100]!r} is longer than {MAX_TEXT}")


def _size(value: Value) -> int:
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, list):
        return len(value) + sum(map(_size, value))
    if isinstance(value, dict):
        return sum(len(key) + _size(item) for key, item in value.items())
    return 1


def check_too_many(events: int, links: int, *texts: str) -> None:
    """Not too many events and links, no text too long."""
    if events > MAX_EVENTS:
        raise ValueError(f"{events} events are more than {MAX_EVENTS}")
    if links > MAX_LINKS:
        raise ValueError(f"{links} links are more than {MAX_LINKS}")
    if max(map(len, texts)) > MAX_TEXT:
        raise ValueError(f"the span's name, status message or trace state is longer than {MAX_TEXT}")


def weight(trace_state: str, trace_id: bytes, attributes: Mapping[str, Value]) -> float:
    """How many spans this one stands for: by `tracestate`, else by the attribute that kai-tracing sets, else 1."""
    if trace_state and (count := known_count(trace_state, int.from_bytes(trace_id, "big"))) is not None:
        return count
    said = attributes.get(ADJUSTED_COUNT)
    if said is None:
        return 1.0
    try:
        count = float(said)  # type: ignore[arg-type]  # what is no number is not one
    except (TypeError, ValueError):
        return 1.0
    return count if 1.0 <= count <= _MAX_WEIGHT else 1.0
