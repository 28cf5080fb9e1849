"""Spans that are this project's and OpenTelemetry's at once.

To code that uses `opentelemetry.trace` they are `opentelemetry.trace.Span`; what they read as (`kind`, `status`,
`links`) is this project's. Processors and exporters of OpenTelemetry's SDK see them through `sdk.LiveSpan` and as
`ReadableSpan`.
"""

from __future__ import annotations

from contextvars import Token
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.trace import SpanContext, Status, StatusCode

from kai_tracing_core.attributes import Attributes
from kai_tracing_core.context import CARRYING, INACTIVE, RESTORED
from kai_tracing_core.failures import describe, is_failure
from kai_tracing_core.non_recording import NonRecordingSpan
from kai_tracing_core.span import Link, Scope, Span, SpanStatusCode
from kai_tracing_core.trace_context import PARENT_REMOTE, TraceContext
from kai_tracing_opentelemetry.runtime import (
    BAGGAGE_KEY,
    SPAN_KEY,
    OpenTelemetryContext,
    as_api,
    get_context,
    place,
    put_back,
    reset_context,
    resolve_here,
    set_context,
    to_span_context,
    to_trace_context,
    with_span,
)

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["OpenTelemetryNonRecordingSpan", "OpenTelemetrySpan"]

_RUNTIME = OpenTelemetryContext()


@ApiSpan.register
class _InContext(Span):
    """A span that is current in OpenTelemetry's context.

    One that was started through OpenTelemetry's API is never made current by itself: its `_previous` is RESTORED
    from the start. Registered as an `opentelemetry.trace.Span`, not derived from it: that class has no slots, so that
    every span would have a dictionary, too.
    """

    __slots__ = ("_contexts", "_identity", "_status_on_exception")

    _contexts: tuple[Context, Context]
    _identity: SpanContext
    _status_on_exception: bool  # where it is not the same as `record_exception`

    def get_span_context(self) -> SpanContext:
        """The identity of the span as OpenTelemetry's API has it."""
        try:
            if self._identity.span_id == self._span_id:
                return self._identity
        except AttributeError:
            pass
        self._identity = to_span_context(
            TraceContext(self._trace_id, self._span_id, self._flags & ~PARENT_REMOTE, self._trace_state)
        )
        return self._identity

    @property
    def context(self) -> SpanContext:
        """The identity of the span as OpenTelemetry's API has it."""
        return self.get_span_context()

    @property
    def parent(self) -> SpanContext | None:
        """The identity of the parent; None for the root of a trace."""
        if not self._parent_id:
            return None
        remote = self._flags & PARENT_REMOTE != 0
        return to_span_context(
            TraceContext(self._trace_id, self._parent_id, self._flags, self._trace_state, is_remote=remote)
        )

    def __enter__(self) -> Self:
        if self._previous is INACTIVE or self._previous is CARRYING:
            self._activate()
        return self

    def _activate(self) -> None:
        before = get_context()
        found: Any = before.get(SPAN_KEY)
        if found is not None and isinstance(found, Span) and found._end:
            # So that the token does not keep spans alive that have ended.
            place(as_api(resolve_here(found)))
            before = get_context()
        after = with_span(before, self)
        if self._carried is not None:
            after = Context({**after, BAGGAGE_KEY: dict(self._carried)})
        self._contexts = before, after
        self._previous = set_context(after)

    def _deactivate(self) -> None:
        current = get_context()
        if type(self._previous) is not Token or current.get(SPAN_KEY) is not self:
            return
        before, after = self._contexts
        try:
            reset_context(self._previous)
            self._previous = RESTORED
            del self._contexts
        except ValueError:  # a task that inherited the span ends it; `resolve_here` puts back where it was made current
            after = before
        if current is not after:
            put_back(current, before.get(SPAN_KEY), before, self._carried is not None)
        found = before.get(SPAN_KEY)
        if found is not None and isinstance(found, Span) and found._end:
            place(as_api(resolve_here(found)))

    def _close(self) -> None:
        """End the span, which somebody else made current."""
        self.end()

    _read_baggage = staticmethod(_RUNTIME.get_baggage)


class OpenTelemetrySpan(_InContext):
    """A recorded span for both APIs."""

    __slots__ = ()

    def add_link(self, context: Span | TraceContext | Link | SpanContext, attributes: Attributes | None = None) -> None:
        """Relate this span to another one that is not its parent. A context that is not valid is ignored."""
        super().add_link(to_trace_context(context) if isinstance(context, SpanContext) else context, attributes)

    def _close(self) -> None:
        """End the span, which somebody else made current: `__exit__` without what it would find out about that."""
        room, self._room = self._room, None
        if room is None:
            return
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

    def set_status(
        self,
        code: SpanStatusCode | StatusCode | Status | None = None,
        message: str | None = None,
        *,
        status: Status | StatusCode | None = None,
        description: str | None = None,
    ) -> None:
        """Say how the operation ended. OK is final, UNSET is ignored, and only ERROR has a message.

        The keywords are those of OpenTelemetry's API.
        """
        given: Any = status if code is None else code
        message = description if message is None else message
        if isinstance(given, Status):
            given, message = given.status_code, given.description
        if isinstance(given, StatusCode):
            given = SpanStatusCode(given.value)
        super().set_status(given, message)

    def _fail(self, exception: BaseException) -> None:
        if self._room is None or not is_failure(exception):
            return
        recorded = not self._silent
        if recorded:
            self.record_exception(exception, escaped=True)
        if getattr(self, "_status_on_exception", recorded):
            super().set_status(SpanStatusCode.ERROR, f"{type(exception).__name__}: {describe(exception)}")


class ScopedOpenTelemetrySpan(OpenTelemetrySpan):
    """One that was started through OpenTelemetry's API."""

    __slots__ = ("_scope",)

    _scope: Scope


OpenTelemetrySpan._scoped = ScopedOpenTelemetrySpan


class OpenTelemetryNonRecordingSpan(_InContext, NonRecordingSpan):
    """A span that is not recorded, for both APIs."""

    __slots__ = ()

    def set_status(self, *_: Any, **__: Any) -> None:
        """Do nothing."""
