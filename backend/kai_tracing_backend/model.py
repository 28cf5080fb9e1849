"""What the store answers. Times are nanoseconds since the epoch, ids are hexadecimal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from kai_tracing_backend.sketch import quantile
from kai_tracing_backend.values import Value

__all__ = [
    "AttributeKey",
    "AttributeValue",
    "Edge",
    "FoundTrace",
    "MatchedSpan",
    "Operation",
    "Rate",
    "Scope",
    "SearchPage",
    "ServiceCount",
    "SpanEvent",
    "SpanLink",
    "SpanSet",
    "StoredSpan",
    "TraceSummary",
]


@dataclass(frozen=True)
class Scope:
    """The instrumentation that made a span (OTLP's `InstrumentationScope`)."""

    name: str = ""
    version: str = ""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    schema_url: str = ""


@dataclass(frozen=True)
class SpanEvent:
    """Something that happened while a span ran."""

    time: int
    name: str
    attributes: Mapping[str, Value] = field(default_factory=dict)
    dropped_attributes: int = 0


@dataclass(frozen=True)
class SpanLink:
    """Another span that this one has to do with."""

    trace_id: str
    span_id: str
    trace_state: str = ""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    flags: int = 0
    dropped_attributes: int = 0


@dataclass(frozen=True)
class StoredSpan:
    """One span as it was received. `kind` and `status` are OTLP's numbers: kind 2 is a server, status 2 an error.

    `adjusted_count` is how many spans it stands for: 1 / its sampling probability.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    service: str
    start_time: int
    duration: int
    kind: int = 0
    status: int = 0
    status_message: str = ""
    trace_state: str = ""
    flags: int = 0
    adjusted_count: float = 1.0
    attributes: Mapping[str, Value] = field(default_factory=dict)
    events: Sequence[SpanEvent] = ()
    links: Sequence[SpanLink] = ()
    resource: Mapping[str, Value] = field(default_factory=dict)
    resource_schema_url: str = ""
    scope: Scope = field(default_factory=Scope)
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0


@dataclass(frozen=True)
class ServiceCount:
    """How many spans of a trace are of a service, and how many of those failed."""

    spans: int
    errors: int


@dataclass(frozen=True)
class TraceSummary:
    """A trace in a list. `service` and `name` are the root's, or the earliest span's where the root is not there."""

    trace_id: str
    service: str
    name: str
    start_time: int
    duration: int
    spans: int
    errors: int
    services: Mapping[str, ServiceCount] = field(default_factory=dict)


@dataclass(frozen=True)
class MatchedSpan:
    """A span that a search found. `attributes` are the fields that the query names, as the query writes them."""

    span_id: str
    parent_id: str | None
    name: str
    service: str
    start_time: int
    duration: int
    kind: int
    status: int
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class SpanSet:
    """Spans of a trace that were found together. `matched` is how many, `spans` the first of them by start.

    `attributes` are what the set was made by (`by(…)`) and what was counted of it (`count()`), as the query writes it.
    """

    matched: int
    spans: Sequence[MatchedSpan]
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class FoundTrace:
    """A trace that a search found, with the spans that made it be found: one set, or one for each group."""

    summary: TraceSummary
    sets: Sequence[SpanSet]


@dataclass(frozen=True)
class SearchPage:
    """What a search found, newest first. `cursor` leads to the next page; None when there is none."""

    traces: Sequence[FoundTrace]
    cursor: str | None = None


@dataclass(frozen=True)
class AttributeKey:
    """An attribute's name. `scope` is span or resource, `type` string, int, double, bool or other; on so many spans."""

    key: str
    scope: str
    type: str
    spans: int


@dataclass(frozen=True)
class AttributeValue:
    """A value of an attribute; on so many spans."""

    value: Value
    spans: int


@dataclass(frozen=True)
class Operation:
    """What a service does: a span name with its kind."""

    name: str
    kind: int


@dataclass(frozen=True)
class Edge:
    """Calls from one service to another. `weight` is how many there were, by the spans' adjusted counts.

    A side that sends no spans has another type: `database`, `queue` (a messaging destination) or `external`.
    """

    parent: str
    child: str
    calls: int
    weight: float
    errors: int
    parent_type: str = "service"
    child_type: str = "service"


@dataclass(frozen=True)
class DayStatistics:
    """What there is of a day (UTC, by the start of the span). A trace that has spans of two days counts in both."""

    day: date
    spans: int
    traces: int
    bytes: int


@dataclass(frozen=True)
class Rate:
    """How often, how long and how it ended: one operation of a service with one status, over a time.

    `spans` is how many were received, `weight` how many they stand for. The durations are a DDSketch: `quantile` is
    within 1 % of the true one.
    """

    service: str
    name: str
    kind: int
    status: int
    spans: int
    weight: float
    total_duration: float
    min_duration: int
    max_duration: int
    sketch: Mapping[int, float]

    def quantile(self, q: float) -> float:
        """The duration, in nanoseconds, that a share `q` of the calls did not exceed."""
        return min(max(quantile(self.sketch, q), self.min_duration), self.max_duration)
