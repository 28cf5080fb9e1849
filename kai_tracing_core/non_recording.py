"""The span that is not recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from kai_tracing_core.attributes import Attributes, AttributeValue
from kai_tracing_core.context import CARRYING, INACTIVE, get_current, reset_current
from kai_tracing_core.span import Span
from kai_tracing_core.span_parts import Event, Link, Rare, SpanKind, SpanStatusCode, Time
from kai_tracing_core.trace_context import Shared, TraceContext

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["NonRecordingSpan"]


class NonRecordingSpan(Span):
    """A span that is not recorded: its trace is not sampled, tracing is disabled, or it only stands for a context.

    It can be current and be propagated like any other; all else it takes is thrown away.
    """

    __slots__ = ()

    # Hidden by these, a span's fields need not be filled in each time.
    _parent_id = _start = 0

    @classmethod
    def of(cls, context: TraceContext) -> Self:
        """A span that stands for `context`: it propagates it unchanged."""
        span = cls.__new__(cls)
        span.name = ""
        span._kind = SpanKind.INTERNAL
        span._trace_id = context._trace_id
        span._span_id = context._span_id
        span._end = False
        span._shared = Shared(context._flags, context._trace_state, context._weight)
        span._rare = Rare.carrying(context.baggage)
        span._previous = INACTIVE if span._rare is None else CARRYING
        return span

    # Like Span's, without what only a recorded span has; that `_end` is no safe claim harms nothing here.
    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._end:
            return
        if get_current() is self:  # _deactivate in short
            try:
                reset_current(self._previous)
                self._previous = None  # RESTORED
            except (TypeError, ValueError):
                self._deactivate()
        elif self._previous:
            self._deactivate()
        self._end = 1

    def end(self, end_time: Time | None = None) -> None:
        """End the span, and put back what was current before it."""
        self.__exit__(None, None, None)

    def is_recording(self) -> bool:
        """False."""
        return False

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Do nothing."""

    def set_attributes(self, attributes: Attributes) -> None:
        """Do nothing."""

    def add_event(self, name: str, attributes: Attributes | None = None, timestamp: Time | None = None) -> None:
        """Do nothing."""

    def add_link(self, context: Span | TraceContext | Link, attributes: Attributes | None = None) -> None:
        """Do nothing."""

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes | None = None,
        timestamp: Time | None = None,
        escaped: bool = False,
    ) -> None:
        """Do nothing."""

    def set_status(self, code: SpanStatusCode, message: str | None = None) -> None:
        """Do nothing."""

    def update_name(self, name: str) -> None:
        """Do nothing."""

    def _fail(self, exception: BaseException) -> None:
        """Do nothing."""

    @property
    def attributes(self) -> Mapping[str, AttributeValue]:
        """Empty."""
        return {}

    @property
    def events(self) -> Sequence[Event]:
        """Empty."""
        return ()

    @property
    def links(self) -> Sequence[Link]:
        """Empty."""
        return ()

    @property
    def resource(self) -> Mapping[str, AttributeValue]:
        """Empty."""
        return {}

    @property
    def end_time(self) -> int | None:
        """None."""
        return None

    @property
    def duration(self) -> float | None:
        """None."""
        return None

    @property
    def status_message(self) -> str | None:
        """None."""
        return None

    @property
    def dropped_attributes(self) -> int:
        """0."""
        return 0

    @property
    def dropped_events(self) -> int:
        """0."""
        return 0

    @property
    def dropped_links(self) -> int:
        """0."""
        return 0
