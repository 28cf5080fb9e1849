"""One operation of one service: the span, and what it records."""

from __future__ import annotations

from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from kai_tracing_core.attributes import Attributes, AttributeValue
from kai_tracing_core.context import (
    BAGGAGE,
    RESTORED,
    get_current,
    reset_current,
    resolve,
    set_current,
    token_of,
)
from kai_tracing_core.failures import describe, is_failure, qualified_name, stack_trace
from kai_tracing_core.lazy import lazy_logger
from kai_tracing_core.span_parts import (
    Event,
    Link,
    Scope,
    SpanKind,
    SpanOptions,
    SpanResult,
    SpanStatusCode,
    Time,
    as_kind,
    as_mapping,
    as_nanoseconds,
    as_text,
    to_nanoseconds,
)
from kai_tracing_core.span_reading import ReadableSpan
from kai_tracing_core.trace_context import TraceContext

if TYPE_CHECKING:
    from typing_extensions import Self

logger = lazy_logger(__name__)

__all__ = [
    "Event",
    "Link",
    "Scope",
    "ScopedSpan",
    "Span",
    "SpanKind",
    "SpanOptions",
    "SpanResult",
    "SpanStatusCode",
    "Time",
    "to_nanoseconds",
]


class Span(ReadableSpan):
    """One operation: made by `tracing.span`, `tracing.start_span` or `@tracing.traced`, never directly.

    Its own context manager: `with` makes it current, records the exception that leaves the block, and ends it. All
    methods may be called from any thread; after `end` they do nothing. The name, the kind and the values of attributes
    are taken as they are and made fit for export (`attributes.clean_value`) on the exporting thread, so setting one
    costs a dictionary entry.
    """

    __slots__ = ()

    _scoped: ClassVar[type[Span]]
    """What a span is that has a scope."""

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

    def _drop(self, what: int, count: int = 1) -> None:
        dropped = list(self._dropped)
        dropped[what] += count
        self._get_rare().dropped = (dropped[0], dropped[1], dropped[2])

    # -- its life ----------------------------------------------------------------------------------------------------

    def end(self, end_time: Time | None = None) -> None:
        """End the span, now or at `end_time`, and put back what was current before it. Later calls do nothing."""
        if end_time is None:
            self.__exit__(None, None, None)
            return
        room, self._room = self._room, None
        if room is not None:
            if self._previous:
                self._deactivate()
            self._finish(max(as_nanoseconds(end_time, self._sink.clock), self._start))

    def _activate(self) -> None:
        """Make this the current span until `_deactivate`."""
        previous = get_current()
        if previous is not None and previous._end:
            set_current(resolve(previous))  # so that the token does not keep spans alive that have ended
        token = set_current(self)
        if self._carried is None:
            self._previous = token
        else:
            self._previous = token, BAGGAGE.get()
            BAGGAGE.set(self._carried)

    def _deactivate(self) -> None:
        """Put back what was current before, if this span is current here."""
        if get_current() is not self:
            return
        before = self._previous
        token = token_of(before)
        if token is None:  # made current by `use_context`, which puts back what was before
            return
        try:
            reset_current(token)
            self._previous = RESTORED
        except ValueError:  # a task that inherited the span ends it; where it was made current `resolve` puts back
            set_current(token.old_value if token.old_value is not Token.MISSING else None)
        previous = get_current()
        if previous is not None and previous._end:
            set_current(resolve(previous))
        if token is not before:
            BAGGAGE.set(before[1])

    def __enter__(self) -> Self:
        if self._previous is False:  # INACTIVE: _activate in short
            self._previous = set_current(self)
        elif self._previous is True:  # CARRYING
            self._activate()
        return self

    # What most spans need to end is here, where each further call, parameter or variable takes 1 to 4 % of a span.
    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        if exception is not None:
            self._fail(exception)
        # Whoever takes the room ends the span. No other thread and no signal handler comes between the two halves of
        # this: there is neither a call nor a jump in it.
        room, self._room = self._room, None
        if room is None:
            return
        if get_current() is self:  # _deactivate in short
            try:
                reset_current(self._previous)
                self._previous = None  # RESTORED
            except (TypeError, ValueError):
                self._deactivate()
        elif self._previous:
            self._deactivate()
        sink = self._shared.sink
        inbox = sink.inbox
        if inbox is not None:
            try:
                inbox.admit()
            except IndexError:
                pass
            else:
                self._end = sink.clock()
                inbox.append(self)
                return
        self._finish(sink.clock())

    def _finish(self, end: int) -> None:
        """What ending a span comes to where somebody is to be asked or told, or the queue has no room."""
        sink = self._shared.sink
        queue = None
        if sink.on_ending is not None:
            sink.on_ending(self)
            queue = sink.queue
        self._end = end
        if queue is not None:
            try:
                queue.admit()
            except IndexError:
                pass
            else:
                queue.append(self)
                return
        sink.on_end(self)

    def _mend(self) -> None:
        """Make fit for export what was taken as it was, which to look at took 4 % of a span for the application.

        That is the name, the kind, and an end before the start where the clock was set back meanwhile. Who takes spans
        from the queue does it.
        """
        self.name, self._kind = as_text(self.name), as_kind(self._kind)
        if self._end:
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


class ScopedSpan(Span):
    """A span that other instrumentation than this package's made."""

    __slots__ = ("_scope",)

    _scope: Scope


Span._scoped = ScopedSpan
