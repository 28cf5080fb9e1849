"""One operation of one service: the span, and what it records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kai_tracing_core.attributes import Attributes, AttributeValue, clean_attributes
from kai_tracing_core.context import BAGGAGE, INACTIVE, RESTORED, get_current, reset_current, resolve, set_current
from kai_tracing_core.failures import describe, is_failure, qualified_name, stack_trace
from kai_tracing_core.lazy import lazy_logger
from kai_tracing_core.span_parts import (
    NONE_DROPPED,
    Event,
    Link,
    Rare,
    Scope,
    SpanKind,
    SpanOptions,
    SpanResult,
    SpanStatusCode,
    Time,
    as_mapping,
    as_nanoseconds,
    as_text,
    to_nanoseconds,
)
from kai_tracing_core.trace_context import PARENT_REMOTE, WIRE_FLAGS, Shared, TraceContext

if TYPE_CHECKING:
    from typing_extensions import Self

logger = lazy_logger(__name__)

_new_context: Callable[[type[TraceContext]], TraceContext] = object.__new__

__all__ = [
    "Event",
    "Link",
    "Scope",
    "Span",
    "SpanKind",
    "SpanOptions",
    "SpanResult",
    "SpanStatusCode",
    "Time",
    "to_nanoseconds",
]


class Span:
    """One operation: made by `tracing.span`, `tracing.start_span` or `@tracing.traced`, never directly.

    Its own context manager: `with` makes it current, records the exception that leaves the block, and ends it. All
    methods may be called from any thread; after `end` they do nothing. Attribute values are taken as they are and
    made fit for export (`attributes.clean_value`) on the exporting thread, so setting one costs a dictionary entry.
    """

    __slots__ = (
        "_attributes",
        "_end",
        "_kind",
        "_parent_id",
        "_previous",
        "_rare",
        "_room",
        "_scope",
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
    _scope: Scope | None
    _previous: Any  # INACTIVE, then the token of `context.CURRENT` while it is current, then RESTORED
    _room: int | None  # for how many attributes; None once it has ended or is about to

    # -- recording ---------------------------------------------------------------------------------------------------

    def is_recording(self) -> bool:
        """Whether the span still takes attributes and events: sampled and not ended."""
        return self._end == 0

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set one attribute; the last value of a key wins."""
        attributes = self._attributes
        try:
            if len(attributes) < self._room or key in attributes:  # type: ignore[operator]  # see below
                attributes[key] = value
            else:
                self._drop(0)
        except TypeError:  # there is no room once it has ended; or the key cannot be hashed
            self._set_late(key, value)

    def _set_late(self, key: str, value: AttributeValue) -> None:
        if self._end:
            return
        attributes = self._attributes
        try:
            if len(attributes) < self._sink.limits.attributes or key in attributes:  # `on_ending` sets it
                attributes[key] = value
                return
        except TypeError:
            pass
        self._drop(0)

    def set_attributes(self, attributes: Attributes) -> None:
        """Set several attributes."""
        for key, value in as_mapping(attributes).items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes | None = None, timestamp: Time | None = None) -> None:
        """Record that something happened, now or at `timestamp`."""
        if self._end:
            return
        rare = self._get_rare()
        events = rare.events
        if events is None:
            events = rare.events = []
        if len(events) >= self._sink.limits.events:
            self._drop(1)
            return
        events.append(Event(as_text(name), as_nanoseconds(timestamp, self._sink.clock), as_mapping(attributes)))

    def add_link(self, context: Span | TraceContext | Link, attributes: Attributes | None = None) -> None:
        """Relate this span to another one that is not its parent. A context that is not valid is ignored."""
        if self._end:
            return
        if isinstance(context, Link):
            attributes = attributes or context.attributes
            context = context.context
        target = getattr(context, "trace_context", None)
        if target is None or not (target.is_valid or target.trace_state or attributes):
            return
        rare = self._get_rare()
        links = rare.links
        if links is None:
            links = rare.links = []
        if len(links) >= self._sink.limits.links:
            self._drop(2)
            return
        links.append(Link(target, as_mapping(attributes)))

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes | None = None,
        timestamp: Time | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an `exception` event with type, message and stack trace (semantic conventions, "Exceptions on spans")."""
        if self._end:
            return
        details: dict[str, Any] = {
            "exception.type": qualified_name(type(exception)),
            "exception.message": describe(exception),
            "exception.stacktrace": stack_trace(exception),
            "exception.escaped": str(escaped),
            **as_mapping(attributes),
        }
        self.add_event("exception", details, timestamp)

    def set_status(self, code: SpanStatusCode, message: str | None = None) -> None:
        """Say how the operation ended. OK is final, UNSET is ignored, and only ERROR has a message."""
        try:
            code = SpanStatusCode(code)
        except ValueError:
            logger.debug("not a status code: %s", type(code).__name__)
            return
        if self._end or code is SpanStatusCode.UNSET or self._status == SpanStatusCode.OK:
            return
        rare = self._get_rare()
        rare.status = code.value
        rare.message = as_text(message) if message is not None and code is SpanStatusCode.ERROR else None

    def update_name(self, name: str) -> None:
        """Give the span another name, for what is known only later, such as the route of a request."""
        if not self._end:
            self.name = as_text(name)

    # -- its life ----------------------------------------------------------------------------------------------------

    def end(self, end_time: Time | None = None) -> None:
        """End the span, now or at `end_time`, and put back what was current before it. Later calls do nothing."""
        self.__exit__(None, None, None, end_time)

    def _activate(self) -> None:
        """Make this the current span until `_deactivate`."""
        previous = get_current()
        if previous is not None and previous._end:
            set_current(resolve(previous))  # so that the token does not keep spans alive that have ended
        self._previous = set_current(self)
        if self._carried is not None:
            self._get_rare().outer_baggage = BAGGAGE.get()
            BAGGAGE.set(self._carried)

    def _deactivate(self) -> None:
        """Put back what was current before, if this span is current here."""
        if get_current() is not self:
            return
        token = self._previous
        try:
            reset_current(token)
            self._previous = RESTORED
        except ValueError:  # a task that inherited the span ends it; where it was made current `resolve` puts back
            set_current(token.old_value if token.old_value is not Token.MISSING else None)
        previous = get_current()
        if previous is not None and previous._end:
            set_current(resolve(previous))
        if self._carried is not None:
            BAGGAGE.set(self._get_rare().outer_baggage)

    def __enter__(self) -> Self:
        if self._previous is INACTIVE:
            if self._rare is None:  # _activate in short
                self._previous = set_current(self)
            else:
                self._activate()
        return self

    # All of `end` is here and not the other way round: the call would cost a `with` block 4 % of a span.
    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
        end_time: Time | None = None,
    ) -> None:
        if exception is not None:
            self._fail(exception)
        # Whoever takes the room ends the span. No other thread and no signal handler comes between the two halves of
        # this: there is neither a call nor a jump in it.
        room, self._room = self._room, None
        if room is None:
            return
        if get_current() is self and (self._rare is None or self._rare.carried is None):  # _deactivate in short
            try:
                reset_current(self._previous)
                self._previous = RESTORED
            except TypeError:  # made current by `use_context`, which puts back what was before
                pass
            except ValueError:
                self._deactivate()
        elif self._previous:
            self._deactivate()
        sink = self._shared.sink
        end = sink.clock() if end_time is None else max(as_nanoseconds(end_time, sink.clock), self._start)
        if sink.on_ending is not None:
            sink.on_ending(self)
        self._end = end
        inbox = sink.inbox
        if len(inbox) < inbox.room:
            inbox.append(self)  # whoever takes it from there mends its end, too, which would cost 2 % of a span here
        else:
            self._mend_end()
            sink.on_end(self)

    def _mend_end(self) -> None:
        """Have the span end no earlier than it started, if the clock was set back meanwhile."""
        self._end = max(self._end, self._start)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, exception, trace)

    def _fail(self, exception: BaseException) -> None:
        """Record the exception that leaves the span, unless leaving that way is no error."""
        if self._room is None or self._silent or not is_failure(exception):
            return
        self.record_exception(exception, escaped=True)
        self.set_status(SpanStatusCode.ERROR, f"{type(exception).__name__}: {describe(exception)}")

    # -- reading -----------------------------------------------------------------------------------------------------

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
        return self._kind

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
        if self._carried is None or (self._previous is not INACTIVE and not self._end):
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

    def _drop(self, what: int, count: int = 1) -> None:
        dropped = list(self._dropped)
        dropped[what] += count
        self._get_rare().dropped = (dropped[0], dropped[1], dropped[2])

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

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.trace_id}-{self.span_id}>"

    # A span is an identity: a copy of what holds one holds the same, and another process gets what stands for it.

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        from kai_tracing_core.non_recording import NonRecordingSpan

        return NonRecordingSpan.of, (self.trace_context,)
