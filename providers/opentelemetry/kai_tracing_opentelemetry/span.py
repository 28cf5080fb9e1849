"""Spans that are this project's and OpenTelemetry's at once.

To code that uses `opentelemetry.trace` they are `opentelemetry.trace.Span`; what they read as (`kind`, `status`,
`links`) is this project's. Processors and exporters of OpenTelemetry's SDK see them through `sdk.LiveSpan` and as
`ReadableSpan`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.trace import SpanContext, Status, StatusCode

from kai_tracing_core.attributes import Attributes
from kai_tracing_core.context import EMPTY_BAGGAGE, INACTIVE, RESTORED, resolve
from kai_tracing_core.failures import describe, is_failure
from kai_tracing_core.span import Link, NonRecordingSpan, Span, SpanStatusCode
from kai_tracing_core.trace_context import PARENT_REMOTE, TraceContext
from kai_tracing_opentelemetry.runtime import (
    BAGGAGE_KEY,
    SPAN_KEY,
    OpenTelemetryContext,
    as_api,
    current_in,
    get_context,
    place,
    put_back,
    set_context,
    to_span_context,
    to_trace_context,
)

__all__ = ["OpenTelemetryNonRecordingSpan", "OpenTelemetrySpan"]

_RUNTIME = OpenTelemetryContext()


class _InContext(Span, ApiSpan):  # type: ignore[misc]  # set_status and add_link take either API's arguments
    """A span that is current in OpenTelemetry's context.

    One that was started through OpenTelemetry's API is never made current by itself: its `_previous` is RESTORED
    from the start.
    """

    __slots__ = ("_contexts",)

    _contexts: tuple[Context, Context]

    _status_on_exception: bool | None = None
    """OpenTelemetry's `set_status_on_exception`, where it is not the same as `record_exception`."""

    def get_span_context(self) -> SpanContext:
        """The identity of the span as OpenTelemetry's API has it."""
        cached: SpanContext | None = self.__dict__.get("_identity")
        if cached is None or cached.span_id != self._span_id:
            cached = to_span_context(
                TraceContext(self._trace_id, self._span_id, self._flags & ~PARENT_REMOTE, self._trace_state)
            )
            self.__dict__["_identity"] = cached
        return cached

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

    def _activate(self) -> None:
        context = get_context()
        found: Any = context.get(SPAN_KEY)
        if found is not None:
            if not isinstance(found, Span):
                found = current_in(context)
            elif found._end:
                found = resolve(found)
        self._previous = found
        self._contexts = place(self, self._carried)

    def _deactivate(self) -> None:
        previous = self._previous
        if previous is RESTORED:
            return
        if previous is not None and previous._end:
            previous = resolve(previous)
        current = get_context()
        if current.get(SPAN_KEY) is not self:
            self._previous = previous
            return
        before, after = self._contexts
        found = before.get(SPAN_KEY)
        if current is after and (found is previous or not isinstance(found, Span)):
            set_context(before)
        else:
            put_back(current, as_api(previous), before, self._carried is not None)
        self._previous = RESTORED
        del self._contexts

    def _baggage(self) -> Mapping[str, str]:
        if self._carried is None or self._previous is not INACTIVE:
            return _RUNTIME.get_baggage() if get_context().get(BAGGAGE_KEY) else EMPTY_BAGGAGE
        return self._carried


class OpenTelemetrySpan(_InContext):
    """A recorded span for both APIs."""

    __slots__ = ()

    def add_link(  # type: ignore[override]  # takes what either API takes
        self, context: Span | TraceContext | Link | SpanContext, attributes: Attributes | None = None
    ) -> None:
        """Relate this span to another one that is not its parent. A context that is not valid is ignored."""
        super().add_link(to_trace_context(context) if isinstance(context, SpanContext) else context, attributes)

    def set_status(  # type: ignore[override]  # takes what either API takes
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
        given = status if code is None else code
        if isinstance(given, Status):
            super().set_status(SpanStatusCode(given.status_code.value), given.description)
        elif given is not None:
            super().set_status(SpanStatusCode(given.value), description if message is None else message)

    def _fail(self, exception: BaseException) -> None:
        if self._end or not is_failure(exception):
            return
        if self._record_exception:
            self.record_exception(exception, escaped=True)
        sets_status = self._status_on_exception
        if self._record_exception if sets_status is None else sets_status:
            super().set_status(SpanStatusCode.ERROR, f"{type(exception).__name__}: {describe(exception)}")


class OpenTelemetryNonRecordingSpan(_InContext, NonRecordingSpan):  # type: ignore[misc]  # as above
    """A span that is not recorded, for both APIs."""

    __slots__ = ()

    def set_status(self, *_: Any, **__: Any) -> None:
        """Do nothing."""
