"""What goes into a span and comes out of it: kinds, status, events, links, times, options; bad arguments mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from kai_tracing_core.attributes import Attributes
from kai_tracing_core.failures import qualified_name
from kai_tracing_core.lazy import lazy_logger
from kai_tracing_core.records import NamedTuple
from kai_tracing_core.trace_context import TraceContext

if TYPE_CHECKING:
    from datetime import datetime

    from kai_tracing_core.span import Span

logger = lazy_logger(__name__)

__all__ = [
    "Event",
    "NONE_DROPPED",
    "Link",
    "Rare",
    "Scope",
    "SpanKind",
    "SpanOptions",
    "SpanResult",
    "SpanStatusCode",
    "Time",
    "as_kind",
    "as_mapping",
    "as_nanoseconds",
    "as_text",
    "to_nanoseconds",
]


class SpanKind(IntEnum):
    """What role the span plays in a call (OpenTelemetry specification, Trace API, "SpanKind")."""

    INTERNAL = 0
    SERVER = 1
    CLIENT = 2
    PRODUCER = 3
    CONSUMER = 4


class SpanStatusCode(IntEnum):
    """How the operation ended (OpenTelemetry specification, Trace API, "Set Status")."""

    UNSET = 0
    OK = 1
    ERROR = 2


class Event(NamedTuple):
    """Something that happened during a span; `timestamp` is in nanoseconds since the epoch."""

    name: str
    timestamp: int
    attributes: Mapping[str, Any]


class Link(NamedTuple):
    """A causal relation to a span that is not the parent, such as the producer of one message of a batch."""

    context: TraceContext
    attributes: Mapping[str, Any] = {}


NONE_DROPPED = (0, 0, 0)
"""Attributes, events and links of a span within the limits."""

_MAX_TIME = 1 << 63

Time: TypeAlias = "int | float | datetime"
"""A point in time: nanoseconds since the epoch (int), seconds since the epoch (float) or a datetime."""


def to_nanoseconds(time: Time) -> int:
    """`time` in nanoseconds since the epoch. A naive datetime is local time, as everywhere in Python.

    Raises:
        ValueError: it is no time at or after the epoch that 63 bits can hold.
    """
    if hasattr(time, "timestamp"):
        nanoseconds = round(time.timestamp() * 1e6) * 1000
    else:
        nanoseconds = int(time * 1e9) if isinstance(time, float) else int(time)
    if not 0 <= nanoseconds < _MAX_TIME:
        raise ValueError(f"{time!r} is not within the times that can be recorded")
    return nanoseconds


# What is wrong with an argument must not get into the application's way: these make the best of it.


def as_nanoseconds(time: Time | None, clock: Callable[[], int]) -> int:
    """`time` in nanoseconds since the epoch, or the clock's where it is None or no time."""
    if time is not None:
        try:
            return to_nanoseconds(time)
        except Exception:
            logger.debug("not a time: %s", type(time).__name__, exc_info=True)
    return clock()


def as_text(value: Any) -> str:
    """`value` as a string."""
    if type(value) is str:
        return value
    try:
        return str.__str__(value) if isinstance(value, str) else str(value)
    except Exception:
        return f"<{qualified_name(type(value))}>"


def as_mapping(attributes: Any) -> dict[str, Any]:
    """A copy of the attributes; empty where they are none."""
    if attributes is None:
        return {}
    try:
        return dict(attributes)
    except Exception:
        logger.debug("no attributes: %s", type(attributes).__name__, exc_info=True)
        return {}


def as_kind(kind: Any) -> SpanKind:
    """The span kind of this number; INTERNAL where there is none."""
    if type(kind) is SpanKind:
        return kind
    try:
        return SpanKind(kind)
    except Exception:
        logger.debug("not a span kind: %s", type(kind).__name__)
        return SpanKind.INTERNAL


class SpanOptions(NamedTuple):
    """How a span is to be started; every field may also be given to `start_span` by keyword.

    `parent` None means the current span; a context that is not valid, such as `TraceContext()`, starts a new trace.
    """

    kind: SpanKind = SpanKind.INTERNAL
    attributes: Attributes | None = None
    parent: Span | TraceContext | None = None
    links: Sequence[Link | TraceContext] = ()
    start_time: Time | None = None
    activate: bool = True
    record_exception: bool = True


class Scope(Protocol):
    """What made a span, where that was not this package's API (OpenTelemetry's "instrumentation scope")."""

    @property
    def name(self) -> str:
        """The name of the library that was instrumented, or that instruments it."""
        ...

    @property
    def version(self) -> str | None:
        """Its version."""
        ...

    @property
    def schema_url(self) -> str | None:
        """Which version of the semantic conventions it follows."""
        ...

    @property
    def attributes(self) -> Mapping[str, Any] | None:
        """Attributes that hold for all its spans."""
        ...


class Rare:
    """What few spans have, made when the first of it comes: fields that a span has for itself cost every span time."""

    __slots__ = ("carried", "dropped", "events", "links", "message", "silent", "status")

    def __init__(self) -> None:
        self.events: list[Event] | None = None
        self.links: list[Link] | None = None
        self.status = 0
        self.message: str | None = None
        self.dropped = NONE_DROPPED
        self.silent = False  # whether an exception that leaves the span is not recorded
        self.carried: Mapping[str, str] | None = None  # the baggage of a given parent, current while the span is

    @classmethod
    def carrying(cls, baggage: Mapping[str, str] | None) -> Rare | None:
        """One with the baggage of a given parent; None where that has none."""
        if baggage is None:
            return None
        rare = cls()
        rare.carried = baggage
        return rare


class SpanResult:
    """What `start_span` returns: the span, and its trace context for `inject_context`.

    May be unpacked: `span, trace_context = tracing.start_span("name")`.
    """

    __slots__ = ("span",)

    def __init__(self, span: Span) -> None:
        self.span = span

    @property
    def trace_context(self) -> TraceContext:
        """The identity of the span, as it is propagated."""
        return self.span.trace_context

    def __iter__(self) -> Iterator[Any]:
        yield self.span
        yield self.span.trace_context

    def __repr__(self) -> str:
        return f"SpanResult({self.span!r})"
