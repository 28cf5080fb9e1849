"""Starting a span, the hottest function there is: made once for every pipeline, and measured (`make bench`).

A span is filled in without a constructor, a child of a local parent gets the parent's decision without a sampler, and
nobody is called who is not registered. What the configuration fixes is a variable of the function around, since
looking at one costs a fraction of what an attribute of `self` does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from kai_tracing_core.attributes import Attributes
from kai_tracing_core.context import INACTIVE, RuntimeContext, get_current, resolve, set_current
from kai_tracing_core.non_recording import NonRecordingSpan
from kai_tracing_core.span import Span
from kai_tracing_core.span_parts import (
    Link,
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

logger = logging.getLogger(__name__)

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
    inherits, always, drops_root = sampler.inherits_local, sampler.always, sampler.drops_root
    new_trace_id, new_span_id = pipeline.ids.trace_id, pipeline.ids.span_id
    max_attributes = pipeline.limits.attributes
    current: Callable[[], Any]
    span_class: type[Span]
    non_recording_class: type[NonRecordingSpan]
    new_span: Callable[[], Span]
    new_non_recording_span: Callable[[], NonRecordingSpan]
    on_start: Callable[..., None] | None

    def look_again() -> None:
        nonlocal current, span_class, non_recording_class, new_span, new_non_recording_span, on_start
        # What Python need not call is called directly: the context variable, and a class without a constructor.
        current = get_current if type(pipeline.runtime) is RuntimeContext else pipeline.runtime.get
        span_class, non_recording_class = pipeline.span_class, pipeline.non_recording_class
        new_span, new_non_recording_span = _allocator(span_class), _allocator(non_recording_class)
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
        carried: Mapping[str, str] | None = None
        given: Any = parent
        if given is None:
            given = current()
            if given is not None and given._end:
                given = resolve_current(given)
        elif isinstance(given, Span):
            carried = given._carried
        elif isinstance(given, TraceContext):
            carried = given.baggage
        else:
            logger.debug("not a parent: %s", type(given).__name__)
            return start(name, kind, attributes, None, links, start_time, record_exception, scope)
        if type(name) is not str or type(kind) is not SpanKind:
            name, kind = as_text(name), as_kind(kind)

        recorded = True
        weight: float | None = None
        if given is None:
            parent_id, state = 0, ""
            trace_id = new_trace_id() or 1
            flags = _NEW_TRACE
            if not always and drops_root is not None:
                try:
                    recorded, flags = not drops_root(trace_id), RANDOM
                except Exception as error:
                    pipeline.complain(error)
            if recorded and not always:
                recorded, trace_id, parent_id, flags, state, weight, attributes = pipeline.decide(
                    name, kind, attributes, None, links, trace_id
                )
        elif inherits and type(given) is span_class and given._flags & SAMPLED:
            trace_id = given._trace_id
            parent_id = given._span_id
            flags = given._flags & _OF_THE_TRACE
            state = given._trace_state
            weight = given._weight
        elif (
            inherits
            and type(given) is non_recording_class
            and given._trace_id
            and not given._flags & SAMPLED  # one with the flag stands for a span elsewhere
        ):
            recorded = False
            trace_id = given._trace_id
            flags = given._flags
            state = given._trace_state
        else:
            recorded, trace_id, parent_id, flags, state, weight, attributes = pipeline.decide(
                name, kind, attributes, given, links
            )

        if not recorded:
            pipeline.unsampled += 1
            span: Any = new_non_recording_span()
            span.name = name
            span._kind = kind
            span._trace_id = trace_id
            span._span_id = new_span_id() or 1
            span._flags = flags
            span._trace_state = state
            span._weight = None
            span._carried = carried
            span._previous = INACTIVE
            span._end = 0
            return span  # type: ignore[no-any-return]  # Any, since the two classes share no constructor

        pipeline.recorded += 1
        span = new_span()
        span.name = name
        span._kind = kind
        span._trace_id = trace_id
        span._span_id = new_span_id() or 1
        span._parent_id = parent_id
        span._flags = flags
        span._trace_state = state
        span._weight = weight
        span._carried = carried
        span._rare = None
        if attributes:
            try:
                span._attributes = {**attributes}
            except Exception:
                span._attributes = as_mapping(attributes)
            if len(span._attributes) > max_attributes:
                _truncate(span, max_attributes)
        else:
            span._attributes = {}
        span._status = span._end = 0
        span._previous = INACTIVE
        span._scope = scope
        span._sink = pipeline
        span._open = record_exception
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
