"""Which span is current, per thread and per asyncio task.

One `contextvars.ContextVar` holds what is current: a live span, the span a task inherited from the code that
started it, or the remote parent that `TracingService.use_context` attached. A running span keeps the variable's
token, which tells the thread or task that made it current from those that inherited it.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from kai_tracing_core.span import Span
    from kai_tracing_core.trace_context import TraceContext

__all__ = ["EMPTY_BAGGAGE", "RuntimeContext", "carried_baggage", "resolve", "token_of", "wrap"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

EMPTY_BAGGAGE: Mapping[str, str] = MappingProxyType({})

CURRENT: ContextVar[Any] = ContextVar("kai_tracing_current", default=None)
BAGGAGE: ContextVar[Mapping[str, str]] = ContextVar("kai_tracing_baggage", default=EMPTY_BAGGAGE)

# Bound once: looking a method up on the variable each time makes an object for it, 8 % of a span in all.
get_current = CURRENT.get
set_current = CURRENT.set
reset_current = CURRENT.reset

# What `Span._previous` says when it has no token. `Span` writes and asks for them by these values, since looking one up
# costs twice as much as a constant.
INACTIVE: Any = False
CARRYING: Any = True  # not active yet, and with baggage of its own
RESTORED: Any = None


def resolve(current: Any) -> Any:
    """What stands for `current`, which is current here, when it may have ended.

    A span that has ended stays the *parent* of whatever inherited it (a background task goes on with its trace), but
    as its plain `TraceContext`: nothing can be recorded on it any more. Where it was made current itself, and then
    ended out of order, in another task or on another thread, it stands for what was current before it.
    """
    while current is not None and current._end:
        token = token_of(current._previous)
        if token is None:
            return current.trace_context
        try:
            reset_current(token)
        except (RuntimeError, ValueError):  # used already, or made in another context: this one inherited the span
            return current.trace_context
        current._previous = RESTORED
        current = get_current()
    return current


def token_of(previous: Any) -> Token[Any] | None:
    """The token in what `Span._previous` is; None where there is none."""
    if type(previous) is tuple:
        previous = previous[0]
    return previous if type(previous) is Token else None


def carried_baggage(value: Any) -> Mapping[str, str] | None:
    """The baggage that `value` brings along: a context's, or that of a span made of one. None where it brings none."""
    carried: Mapping[str, str] | None = getattr(value, "_carried", None) or getattr(value, "baggage", None)
    return carried


class RuntimeContext:
    """Where the current span and the current baggage are kept.

    The default keeps them in two context variables. The OpenTelemetry provider replaces it by one that keeps them
    in OpenTelemetry's own context, so that both APIs see the same current span.
    """

    def get(self) -> Span | TraceContext | None:
        """The current span (perhaps already ended), or an attached remote context, or None."""
        return CURRENT.get()  # type: ignore[no-any-return]  # a variable of Any

    def attach(self, value: Span | TraceContext | None) -> Any:
        """Make `value` current, and the baggage that it brings. Returns what `detach` wants back."""
        carried = carried_baggage(value)
        previous = CURRENT.get(), BAGGAGE.get() if carried else None
        CURRENT.set(value)
        if carried:
            self.set_baggage(carried)
        return previous

    def detach(self, previous: Any) -> None:
        """Put back what `attach` returned. Never raises, whichever task or thread calls it."""
        current, baggage = previous
        CURRENT.set(current)
        if baggage is not None:
            BAGGAGE.set(baggage)

    def get_baggage(self) -> Mapping[str, str]:
        """The current baggage, read-only."""
        return BAGGAGE.get()

    def set_baggage(self, baggage: Mapping[str, str]) -> None:
        """Replace the current baggage in this thread or task."""
        BAGGAGE.set(MappingProxyType(dict(baggage)))


def wrap(fn: F) -> F:
    """`fn`, to be called on another thread with the context (span, baggage) of the place where it was wrapped.

    The result may be called any number of times and from several threads at once.
    """
    context = contextvars.copy_context()

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        # A Context can be entered once at a time, so every call gets its own copy.
        return context.copy().run(fn, *args, **kwargs)

    return cast("F", call)
