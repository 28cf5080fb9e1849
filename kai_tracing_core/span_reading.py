"""What a span consists of, and what can be read of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kai_tracing_core.attributes import AttributeValue, clean_attributes
from kai_tracing_core.context import BAGGAGE, CARRYING, INACTIVE
from kai_tracing_core.span_parts import NONE_DROPPED, Event, Link, Rare, Scope, SpanKind, SpanStatusCode, as_kind
from kai_tracing_core.trace_context import PARENT_REMOTE, WIRE_FLAGS, Shared, TraceContext

__all__ = ["ReadableSpan"]

_new_context: Callable[[type[TraceContext]], TraceContext] = object.__new__


class ReadableSpan:
    """The fields of a span, and what they say. Everything may be read at any time, from any thread."""

    __slots__ = (
        "_attributes",
        "_end",
        "_kind",
        "_parent_id",
        "_previous",
        "_rare",
        "_room",
        "_shared",
        "_span_id",
        "_start",
        "_trace_id",
        "name",
    )

    # Every field is set by SpanPipeline, without a constructor: a Python-level __init__ costs a tenth of a span.
    name: str
    _kind: SpanKind
    _trace_id: int
    _span_id: int
    _parent_id: int
    _shared: Shared
    _start: int
    _end: int
    _attributes: dict[str, Any]
    _rare: Rare | None
    # INACTIVE or CARRYING, then the token of `context.CURRENT` while it is current (with the baggage to put back, where
    # it carries its own), then RESTORED
    _previous: Any
    _room: int | None  # for how many attributes; None once it has ended or is about to

    _scope: Scope | None = None  # only a subclass has a place for one

    @property
    def trace_id(self) -> str:
        """The trace id: 32 lowercase hexadecimal digits."""
        return f"{self._trace_id:032x}"

    @property
    def span_id(self) -> str:
        """The span id: 16 lowercase hexadecimal digits."""
        return f"{self._span_id:016x}"

    @property
    def parent_id(self) -> str | None:
        """The parent's span id, or None for the root of a trace."""
        return f"{self._parent_id:016x}" if self._parent_id else None

    @property
    def kind(self) -> SpanKind:
        """What role the span plays in a call."""
        return as_kind(self._kind)

    @property
    def has_remote_parent(self) -> bool:
        """Whether the parent lives in another process."""
        return self._flags & PARENT_REMOTE != 0

    @property
    def trace_context(self) -> TraceContext:
        """What `inject_context` sends on: this span's identity and the baggage that is current here."""
        # Filled in without the constructor, which would take a fifth of the time that injecting takes.
        context = _new_context(TraceContext)
        context._trace_id = self._trace_id
        context._span_id = self._span_id
        shared = self._shared
        context._flags = shared.flags_onward
        context._trace_state = shared.trace_state
        context._weight = shared.weight
        context.is_remote = False
        context.baggage = self._read_baggage() if self._rare is None else self._baggage()
        return context

    _read_baggage = staticmethod(BAGGAGE.get)
    """Gives the current baggage; where it is kept elsewhere a subclass has another."""

    def _baggage(self) -> Mapping[str, str]:
        if self._carried is None or not (self._end or self._previous is INACTIVE or self._previous is CARRYING):
            return self._read_baggage()
        return self._carried

    @property
    def trace_flags(self) -> int:
        """The flags as W3C Trace Context puts them on the wire: bit 0 sampled, bit 1 random."""
        return self._flags & WIRE_FLAGS

    @property
    def trace_state(self) -> str:
        """The `tracestate` list as one header value; empty when there is none."""
        return self._trace_state

    @property
    def start_time(self) -> int:
        """When the span started: nanoseconds since the epoch."""
        return self._start

    @property
    def end_time(self) -> int | None:
        """When the span ended: nanoseconds since the epoch; None while it runs."""
        return max(self._end, self._start) if self._end else None

    @property
    def duration(self) -> float | None:
        """How long the span took: seconds; None while it runs."""
        return max(0, self._end - self._start) / 1e9 if self._end else None

    @property
    def attributes(self) -> Mapping[str, AttributeValue]:
        """The attributes as they are exported: of valid types, within the limits."""
        limits = self._sink.limits
        return clean_attributes(self._attributes, limits.attributes, limits.value_length)[0]

    @property
    def events(self) -> Sequence[Event]:
        """The events in the order of their recording, their attributes as they are exported."""
        limits = self._sink.limits
        return [
            Event(name, at, clean_attributes(attributes, limits.event_attributes, limits.value_length)[0])
            for name, at, attributes in self._events
        ]

    @property
    def links(self) -> Sequence[Link]:
        """The links in the order of their recording, their attributes as they are exported."""
        limits = self._sink.limits
        return [
            Link(context, clean_attributes(attributes, limits.link_attributes, limits.value_length)[0])
            for context, attributes in self._links
        ]

    @property
    def status(self) -> SpanStatusCode:
        """How the operation ended."""
        return SpanStatusCode(self._status)

    @property
    def status_message(self) -> str | None:
        """The message of an ERROR status."""
        return self._rare.message if self._rare is not None else None

    @property
    def resource(self) -> Mapping[str, AttributeValue]:
        """The attributes of the process that made the span, `service.name` among them."""
        return self._sink.resource  # type: ignore[no-any-return]  # see Shared.sink

    @property
    def scope(self) -> Scope | None:
        """The instrumentation that made the span; None for this package's own API."""
        return self._scope

    @property
    def adjusted_count(self) -> float:
        """How many spans this one stands for (OpenTelemetry, "Probability sampling"): 1 / its sampling probability."""
        return 1.0 if self._weight is None else self._weight

    @property
    def dropped_attributes(self) -> int:
        """How many attributes the limits, or an impossible value, dropped."""
        limits = self._sink.limits
        return self._dropped[0] + clean_attributes(self._attributes, limits.attributes, limits.value_length)[1]

    @property
    def dropped_events(self) -> int:
        """How many events the limits dropped."""
        return self._dropped[1]

    @property
    def dropped_links(self) -> int:
        """How many links the limits dropped."""
        return self._dropped[2]

    # -- what it shares with others ----------------------------------------------------------------------------------

    @property
    def _sink(self) -> Any:
        return self._shared.sink

    @property
    def _flags(self) -> int:
        return self._shared.flags

    @property
    def _trace_state(self) -> str:
        return self._shared.trace_state

    @property
    def _weight(self) -> float | None:
        return self._shared.weight

    # -- what few spans have -----------------------------------------------------------------------------------------

    def _get_rare(self) -> Rare:
        rare = self._rare
        if rare is None:
            made = Rare()
            # Looked at again: while it was made another thread may have come.
            rare = self._rare
            if rare is None:
                rare = self._rare = made
        return rare

    @property
    def _carried(self) -> Mapping[str, str] | None:
        """The baggage that came with a given parent, current while the span is."""
        return self._rare.carried if self._rare is not None else None

    @property
    def _status(self) -> int:
        return self._rare.status if self._rare is not None else 0

    @property
    def _silent(self) -> bool:
        """Whether an exception that leaves the span is not recorded."""
        return self._rare is not None and self._rare.silent

    @property
    def _events(self) -> list[Event]:
        return (self._rare and self._rare.events) or []

    @property
    def _links(self) -> list[Link]:
        return (self._rare and self._rare.links) or []

    @property
    def _dropped(self) -> tuple[int, int, int]:
        """How many attributes, events and links were dropped."""
        return self._rare.dropped if self._rare is not None else NONE_DROPPED
