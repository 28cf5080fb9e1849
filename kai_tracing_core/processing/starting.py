"""Starting a span, the hottest function there is: made once for every pipeline, and measured (`make bench`).

A span is filled in without a constructor, a child of a local parent gets the parent's decision without a sampler, and
nobody is called who is not registered. What the configuration fixes is a variable of the function around, since
looking at one costs a fraction of what an attribute of `self` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from kai_tracing_core.attributes import Attributes
from kai_tracing_core.context import INACTIVE, RuntimeContext, get_current, resolve, set_current
from kai_tracing_core.lazy import lazy_logger
from kai_tracing_core.non_recording import NonRecordingSpan
from kai_tracing_core.span import Span
from kai_tracing_core.span_parts import (
    Link,
    Rare,
    Scope,
    SpanKind,
    Time,
    as_kind,
    as_mapping,
    as_nanoseconds,
    as_text,
)
from kai_tracing_core.trace_context import PARENT_REMOTE, RANDOM, SAMPLED, TraceContext

if TYPE_CHECKING:
    from kai_tracing_core.processing.pipeline import SpanPipeline

__all__ = ["starter"]

logger = lazy_logger(__name__)

S = TypeVar("S", bound=Span)

_NEW_TRACE = SAMPLED | RANDOM
_OF_THE_TRACE = ~PARENT_REMOTE


def starter(  # noqa: C901, PLR0915 - nearly all of it is `start`
    pipeline: SpanPipeline,
) -> tuple[Callable[..., Span], Callable[[], None]]:
    """What starts the spans of `pipeline`, and what has it look again after the pipeline changed.

    That is its classes, its runtime context, and who is told of a start.
    """
    sampler, clock = pipeline.sampler, pipeline.clock
    always, drops_root = sampler.always, sampler.drops_root
    inherits = pipeline if sampler.inherits_local else object()
    new_trace_id = pipeline.ids.trace_id
    take_id, more_ids = pipeline.recorded_ids.spare.pop, pipeline.recorded_ids.more
    take_unsampled_id, more_unsampled_ids = pipeline.unsampled_ids.spare.pop, pipeline.unsampled_ids.more
    max_attributes = pipeline.limits.attributes
    internal = SpanKind.INTERNAL
    current: Callable[[], Any]
    inheriting_class: type[NonRecordingSpan] | None
    new_span: Callable[[], Span]
    new_non_recording_span: Callable[[], NonRecordingSpan]
    on_start: Callable[..., None] | None

    def look_again() -> None:
        nonlocal current, inheriting_class, new_span, new_non_recording_span, on_start
        # What Python need not call is called directly: the context variable, and a class without a constructor.
        current = get_current if type(pipeline.runtime) is RuntimeContext else pipeline.runtime.get
        inheriting_class = pipeline.non_recording_class if sampler.inherits_local else None
        new_span, new_non_recording_span = _allocator(pipeline.span_class), _allocator(pipeline.non_recording_class)
        on_start = pipeline.on_start

    def resolve_current(ended: Any) -> Any:
        found = resolve(ended)
        if current is get_current:  # so that the token of the span that starts keeps no ended one alive
            set_current(found)
        return found

    # Callers give all but the name by keyword, but where that were a must (`*`) each default left to its own would be
    # looked up in a dictionary: 3 % of a span.
    def start(  # noqa: C901, PLR0912, PLR0915 - one function, since every further call costs 5 % of a span
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        parent: Span | TraceContext | None = None,
        links: Sequence[Link | TraceContext] = (),
        start_time: Time | None = None,
        record_exception: bool = True,
        scope: Scope | None = None,
    ) -> Span:
        """A new span, not yet current. The parent is the current span unless one is given."""
        rare: Rare | None = None
        given: Any = parent
        if given is None:
            given = current()
            if given is not None and given._end:
                given = resolve_current(given)
        elif isinstance(given, Span):
            rare = Rare.carrying(given._carried)
        elif isinstance(given, TraceContext):
            rare = Rare.carrying(given.baggage)
        else:
            logger.debug("not a parent: %s", type(given).__name__)
            return start(name, kind, attributes, None, links, start_time, record_exception, scope)
        if type(name) is not str or (kind is not internal and type(kind) is not SpanKind):
            name, kind = as_text(name), as_kind(kind)

        sink: Any = pipeline
        weight: float | None = None
        if given is None:
            parent_id, state = 0, ""
            trace_id = new_trace_id() or 1
            flags = _NEW_TRACE
            if not always and drops_root is not None:
                try:
                    sink, flags = None if drops_root(trace_id) else pipeline, RANDOM
                except Exception as error:
                    pipeline.complain(error)
            if sink is not None and not always:
                sink, trace_id, parent_id, flags, state, weight, attributes = pipeline.decide(
                    name, kind, attributes, None, links, trace_id
                )
        elif given._sink is inherits:
            trace_id = given._trace_id
            parent_id = given._span_id
            flags = given._flags
            if flags >= PARENT_REMOTE:
                flags &= _OF_THE_TRACE
            state = given._trace_state
            weight = given._weight
        elif (
            type(given) is inheriting_class
            and given._trace_id
            and not given._flags & SAMPLED  # one with the flag stands for a span elsewhere
        ):
            sink = None
            trace_id = given._trace_id
            flags = given._flags
            state = given._trace_state
        else:
            sink, trace_id, parent_id, flags, state, weight, attributes = pipeline.decide(
                name, kind, attributes, given, links
            )

        if sink is None:
            span: Any = new_non_recording_span()
            span.name = name
            span._kind = kind
            span._trace_id = trace_id
            try:
                span._span_id = take_unsampled_id()
            except IndexError:
                span._span_id = more_unsampled_ids()
            span._flags = flags
            span._trace_state = state
            span._weight = None
            span._rare = rare
            span._previous = INACTIVE
            span._end = False
            return span  # type: ignore[no-any-return]  # Any, since the two classes share no constructor

        span = new_span()
        span.name = name
        span._kind = kind
        span._trace_id = trace_id
        try:
            span._span_id = take_id()
        except IndexError:
            span._span_id = more_ids()
        span._parent_id = parent_id
        span._flags = flags
        span._trace_state = state
        span._weight = weight
        span._rare = rare
        if attributes:
            try:
                kept = {**attributes}
            except Exception:
                kept = as_mapping(attributes)
            span._attributes = kept
            if len(kept) > max_attributes:
                _truncate(span, max_attributes)
        else:
            span._attributes = {}
        span._status = 0
        span._end = False
        span._previous = INACTIVE
        span._scope = scope
        span._sink = sink
        span._room = max_attributes
        if not record_exception:
            span._get_rare().silent = True
        if links:
            _link(span, links)
        span._start = clock() if start_time is None else as_nanoseconds(start_time, clock)
        if on_start is not None:
            on_start(span, given)
        return span  # type: ignore[no-any-return]  # as above

    look_again()
    return start, look_again


def _allocator(kind: type[S]) -> Callable[[], S]:
    """What makes an instance without running a constructor."""
    return kind if kind.__init__ is object.__init__ else partial(object.__new__, kind)


def _link(span: Span, links: Sequence[Link | TraceContext]) -> None:
    try:
        for link in links:
            span.add_link(link)
    except TypeError:
        logger.debug("no links: %s", type(links).__name__)


def _truncate(span: Span, limit: int) -> None:
    span._drop(0, len(span._attributes) - limit)
    span._attributes = dict(islice(span._attributes.items(), limit))
