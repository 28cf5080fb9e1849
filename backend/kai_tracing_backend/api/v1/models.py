"""What `/api/v1` answers. Times and 64-bit integers are strings, as in OTLP's JSON, so that no reader rounds them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

__all__ = [
    "AttributeKeys",
    "AttributeValues",
    "SpanKind",
    "SpanStatus",
    "Candidates",
    "Dependencies",
    "Failure",
    "Operations",
    "QueryCheck",
    "Rates",
    "SearchAnswer",
    "Services",
    "SpanDetails",
    "Stats",
    "Trace",
]

TraceId = Annotated[str, Field(pattern="^[0-9a-f]{32}$", examples=["0af7651916cd43dd8448eb211c80319c"])]
SpanId = Annotated[str, Field(pattern="^[0-9a-f]{16}$", examples=["b7ad6b7169203331"])]
Moment = Annotated[
    str, Field(pattern="^[0-9]+$", description="nanoseconds since the epoch", examples=["1790000000000000000"])
]
Nanoseconds = Annotated[int, Field(ge=0, description="nanoseconds", examples=[30_000_000])]
Cursor = Annotated[
    str | None, Field(description="the parameter `cursor` of the next page; null on the last", examples=[None])
]


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Failure(_Answer):
    """Every error. `parameter` is what is wrong with the request; `line` and `column` where in a query."""

    error: str = Field(examples=["limit: 5000 is not between 1 and 1000"])
    parameter: str | None = Field(None, examples=["limit"])
    line: int | None = None
    column: int | None = None


SpanKind = Literal["unspecified", "internal", "server", "client", "producer", "consumer"]
SpanStatus = Literal["unset", "ok", "error"]


# -- OTLP --------------------------------------------------------------------------------------------------------------


class KeyValue(_Answer):
    """An attribute; the value is OTLP's `AnyValue`."""

    key: str
    value: dict[str, Any] = Field(examples=[{"intValue": "200"}])


class Event(_Answer):
    """Something that happened while a span ran."""

    time_unix_nano: Moment
    name: str
    attributes: list[KeyValue]
    dropped_attributes_count: int


class Link(_Answer):
    """Another span that this one has to do with."""

    trace_id: str
    span_id: str
    trace_state: str
    flags: int
    attributes: list[KeyValue]
    dropped_attributes_count: int


class Status(_Answer):
    """`code` 0 is unset, 1 OK, 2 an error."""

    code: int = Field(ge=0, le=2)
    message: str


class Resource(_Answer):
    """Who made a span."""

    attributes: list[KeyValue]
    schema_url: str


class Scope(_Answer):
    """The instrumentation that made a span."""

    name: str
    version: str
    attributes: list[KeyValue]
    schema_url: str


class Span(_Answer):
    """A span as OTLP's JSON has it, with its service, resource and scope, and how many spans it stands for."""

    trace_id: TraceId
    span_id: SpanId
    parent_span_id: str = Field(description='"" for a root')
    trace_state: str
    flags: int
    name: str
    kind: int = Field(ge=0, le=5, description="0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer")
    start_time_unix_nano: Moment
    end_time_unix_nano: Moment
    attributes: list[KeyValue]
    events: list[Event]
    links: list[Link]
    status: Status
    dropped_attributes_count: int
    dropped_events_count: int
    dropped_links_count: int
    service: str
    adjusted_count: float = Field(ge=1, description="1 / its sampling probability")
    resource: Resource
    scope: Scope


# -- traces ------------------------------------------------------------------------------------------------------------


class Trace(_Answer):
    """The spans of a trace by start."""

    trace_id: TraceId
    spans: list[Span]


class Candidates(_Answer):
    """The traces whose ids begin so."""

    error: str
    candidates: list[TraceId]


class SpanReference(_Answer):
    """A span in a few words."""

    span_id: SpanId
    name: str
    service: str
    kind: SpanKind
    status: SpanStatus
    start_time_unix_nano: Moment
    duration_nanos: Nanoseconds


class SpanDetails(_Answer):
    """The span with this id, its parent where it is known, and its children by start.

    `spans` has two where both halves of a call share an id, as Zipkin's do.
    """

    trace_id: TraceId
    spans: list[Span]
    parent: SpanReference | None
    children: list[SpanReference]


class ServiceCount(_Answer):
    """How much of a trace is one service's."""

    service: str
    spans: int
    errors: int


class MatchedSpan(SpanReference):
    """A span that the query found; `attributes` are the fields that the query names."""

    parent_span_id: str
    attributes: list[KeyValue]


class SpanSet(_Answer):
    """Spans that were found together. `matched` is how many, `spans` the first of them."""

    matched: int
    spans: list[MatchedSpan]
    attributes: list[KeyValue] = Field(description="what `by()` and aggregates made of the set")


class TraceSummary(_Answer):
    """A trace in a list. `service` and `name` are the root's, or the earliest span's where the root is not there."""

    trace_id: TraceId
    service: str
    name: str
    start_time_unix_nano: Moment
    duration_nanos: Nanoseconds
    spans: int
    errors: int
    services: list[ServiceCount]
    span_sets: list[SpanSet]


class SearchAnswer(_Answer):
    """What a search found, newest first."""

    traces: list[TraceSummary]
    cursor: Cursor


# -- what there is -----------------------------------------------------------------------------------------------------


class Services(_Answer):
    """Services by name."""

    services: list[str]
    cursor: Cursor


class Operation(_Answer):
    """What a service does: a span's name with its kind."""

    name: str
    kind: SpanKind


class Operations(_Answer):
    """Operations by name and kind."""

    operations: list[Operation]
    cursor: Cursor


class AttributeKey(_Answer):
    """An attribute's name, where it stands, of which type it is, and on how many spans it was seen."""

    key: str
    scope: Literal["span", "resource"]
    type: Literal["string", "int", "double", "bool", "other"]
    spans: int


class AttributeKeys(_Answer):
    """Attributes, the most frequent first."""

    attributes: list[AttributeKey]
    cursor: Cursor


class AttributeValue(_Answer):
    """A value of an attribute, and on how many spans it was seen."""

    value: dict[str, Any] = Field(examples=[{"stringValue": "GET"}])
    spans: int


class AttributeValues(_Answer):
    """Values of an attribute, the most frequent first."""

    key: str
    values: list[AttributeValue]
    cursor: Cursor


# -- numbers -----------------------------------------------------------------------------------------------------------


class Dependency(_Answer):
    """Calls from one service to another, or to what sends no spans: its type is database, queue or external then."""

    parent: str
    parent_type: str
    child: str
    child_type: str
    calls: int = Field(description="that were received")
    adjusted_calls: float = Field(description="that those stand for, by their sampling probabilities")
    errors: int


class Dependencies(_Answer):
    """Who calls whom, by name."""

    start: Moment
    end: Moment
    dependencies: list[Dependency]
    cursor: Cursor


class Durations(_Answer):
    """How long the calls took, in nanoseconds; quantiles are within 1 % of the true ones."""

    minimum: float
    maximum: float
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float


class Interval(_Answer):
    """Rate, errors and durations of a time. `adjusted_count` and all after it count what sampling left out, too."""

    start: Moment
    end: Moment
    spans: int = Field(description="that were received")
    adjusted_count: float = Field(description="that those stand for, by their sampling probabilities")
    adjusted_errors: float
    per_second: float
    error_ratio: float = Field(ge=0, le=1)
    durations: Durations


class Rate(Interval):
    """An operation; `series` is the same for each step of the window, without steps that had no calls."""

    service: str
    operation: str
    kind: SpanKind
    series: list[Interval] | None = None


class Rates(_Answer):
    """Operations by service, name and kind."""

    start: Moment
    end: Moment
    rates: list[Rate]
    cursor: Cursor


class QueryCheck(_Answer):
    """Whether a query can be understood; if so `query` is what is understood, else the rest says where it is wrong."""

    valid: bool
    query: str | None = Field(None, examples=['{ resource.service.name = "cart" }'])
    error: str | None = None
    line: int | None = None
    column: int | None = None
    pointer: str | None = Field(None, description="the query's line, and under it a caret at the column")


class Stats(_Answer):
    """What the store has."""

    version: str
    tenant: str
    days: list[str] = Field(
        description="the days (UTC) that there are spans of, newest first", examples=[["2026-01-31"]]
    )
    services: int
    spans_last_day: int
    errors_last_day: int
