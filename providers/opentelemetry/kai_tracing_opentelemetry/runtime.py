"""The current span and the baggage, kept in OpenTelemetry's own context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Token
from types import MappingProxyType
from typing import Any

from opentelemetry import context as context_api
from opentelemetry.baggage import _BAGGAGE_KEY as BAGGAGE_KEY
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace import NonRecordingSpan as ApiNonRecordingSpan
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.trace import SpanContext, TraceFlags, TraceState
from opentelemetry.trace.propagation import _SPAN_KEY as SPAN_KEY

from kai_tracing_core.context import EMPTY_BAGGAGE, RESTORED, RuntimeContext, carried_baggage
from kai_tracing_core.span import Span
from kai_tracing_core.trace_context import WIRE_FLAGS, TraceContext

__all__ = [
    "BAGGAGE_KEY",
    "SPAN_KEY",
    "ContextSpan",
    "OpenTelemetryContext",
    "add_to",
    "as_api",
    "current_in",
    "get_context",
    "place",
    "put_back",
    "reset_context",
    "resolve_here",
    "set_context",
    "to_span_context",
    "to_trace_context",
    "with_span",
]


def _access() -> tuple[Callable[[], Context], Callable[[Context], Any], Callable[[Any], None]]:
    """How the context is read, replaced and put back: in its variable where OpenTelemetry keeps it in one."""
    runtime = context_api._RUNTIME_CONTEXT
    if type(runtime) is ContextVarsRuntimeContext:
        variable = runtime._current_context
        return variable.get, variable.set, variable.reset
    return runtime.get_current, runtime.attach, runtime.detach  # pragma: no cover - what OTEL_PYTHON_CONTEXT names


get_context, set_context, reset_context = _access()

add_to = dict.setdefault
"""Adds to a context that nobody has seen yet."""


def with_span(before: Context, span: Any) -> Context:
    """The context with another current span in it."""
    if not before or (len(before) == 1 and SPAN_KEY in before):  # nothing to copy, as nearly everywhere
        # Context forbids changes, so that nobody changes one that is in use. This gets around it at three quarters
        # of what making it of a dictionary costs.
        after = Context()
        add_to(after, SPAN_KEY, span)
        return after
    return Context({**before, SPAN_KEY: span})


def to_span_context(context: TraceContext) -> SpanContext:
    """The context as OpenTelemetry's API has it."""
    return SpanContext(
        context._trace_id,
        context._span_id,
        context.is_remote,
        TraceFlags(context._flags & WIRE_FLAGS),
        TraceState.from_header([context._trace_state]) if context._trace_state else None,
    )


def to_trace_context(context: SpanContext) -> TraceContext:
    """The context as this project has it."""
    state = context.trace_state.to_header() if context.trace_state else ""
    return TraceContext(
        context.trace_id, context.span_id, context.trace_flags & WIRE_FLAGS, state, is_remote=context.is_remote
    )


class ContextSpan(ApiNonRecordingSpan):
    """Stands in OpenTelemetry's context for a trace context that was made current without a span."""

    def __init__(self, context: TraceContext) -> None:
        super().__init__(to_span_context(context))
        self.trace_context = context


def current_in(context: Context) -> Span | TraceContext | None:
    """The span of ours that is current in `context`, or what stands for one that is not ours; None without any."""
    span = context.get(SPAN_KEY)
    if span is None:
        return None
    if isinstance(span, Span):
        return resolve_here(span) if span._end else span
    if isinstance(span, ContextSpan):
        return span.trace_context
    identity = span.get_span_context() if isinstance(span, ApiSpan) else None
    return to_trace_context(identity) if identity is not None and identity.is_valid else None


def resolve_here(span: Any) -> Span | TraceContext | None:
    """What stands for an ended span that is current here (`kai_tracing_core.context.resolve` says what and why)."""
    if type(span._previous) is Token:
        try:
            reset_context(span._previous)
        except (RuntimeError, ValueError):  # used already, or made in another context: this one inherited the span
            return span.trace_context  # type: ignore[no-any-return]  # a span of any class
        span._previous = RESTORED
        return current_in(get_context())
    return span.trace_context  # type: ignore[no-any-return]  # a span of any class


def as_api(value: Span | TraceContext | None) -> ApiSpan | None:
    """What stands for `value` in OpenTelemetry's context."""
    if value is None or isinstance(value, ApiSpan):
        return value
    return ContextSpan(value.trace_context)


def place(span: ApiSpan | None, baggage: Mapping[str, str] | None = None) -> tuple[Context, Context]:
    """Make the span current, and the baggage if there is one. Returns the context before and the one after."""
    before = get_context()
    after = _changed(before, span, dict(baggage) if baggage else before.get(BAGGAGE_KEY))
    set_context(after)
    return before, after


def put_back(current: Context, span: Any, before: Context, with_baggage: bool) -> None:
    """Replace the span in `current`, and the baggage by what it was, leaving all else that was set since."""
    set_context(_changed(current, span, (before if with_baggage else current).get(BAGGAGE_KEY)))


def _changed(context: Context, span: Any, baggage: Any) -> Context:
    """The context with this span and this baggage; None takes them out."""
    changed = dict(context)
    for key, value in ((SPAN_KEY, span), (BAGGAGE_KEY, baggage)):
        if value is None:
            changed.pop(key, None)
        else:
            changed[key] = value
    return Context(changed)


class OpenTelemetryContext(RuntimeContext):
    """Keeps the current span and the baggage where `opentelemetry.trace` and `opentelemetry.baggage` look for them."""

    def get(self) -> Span | TraceContext | None:
        """The current span, or the context of a span that is not ours, or None."""
        span: Any = get_context().get(SPAN_KEY)
        if span is None or (isinstance(span, Span) and not span._end):
            return span
        return current_in(get_context())

    def attach(self, value: Span | TraceContext | None) -> Any:
        """Make `value` current. Returns what `detach` wants back."""
        baggage = carried_baggage(value)
        before, after = place(as_api(value), baggage)
        return before, after, bool(baggage)

    def detach(self, previous: Any) -> None:
        """Put back what `attach` returned. Never raises, whichever task or thread calls it."""
        before, after, with_baggage = previous
        current = get_context()
        if current is after:
            set_context(before)
        else:
            put_back(current, before.get(SPAN_KEY), before, with_baggage)

    def get_baggage(self) -> Mapping[str, str]:
        """The current baggage, read-only."""
        baggage: Any = get_context().get(BAGGAGE_KEY)
        if not baggage:
            return EMPTY_BAGGAGE
        # OpenTelemetry's may have values of any type; a property-carrying string of ours stays what it is.
        return MappingProxyType(
            {key: value if isinstance(value, str) else str(value) for key, value in baggage.items()}
        )

    def set_baggage(self, baggage: Mapping[str, str]) -> None:
        """Replace the current baggage in this thread or task."""
        context = get_context()
        set_context(_changed(context, context.get(SPAN_KEY), dict(baggage) or None))
