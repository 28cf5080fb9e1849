"""Starting a span, the hottest function there is: made once for every pipeline, and measured (`make bench`).

A span is filled in without a constructor, a child of a local parent gets the parent's decision without a sampler, and
nobody is called who is not registered. What the configuration fixes is a variable of the function around, since
looking at one costs a fraction of what an attribute of `self` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from kai_tracing_core.attributes import Attributes
from kai_tracing_core.context import RuntimeContext, get_current, resolve, set_current
from kai_tracing_core.lazy import lazy_logger
from kai_tracing_core.span import Span
from kai_tracing_core.span_parts import (
    Link,
    Rare,
    Scope,
    SpanKind,
    Time,
    as_mapping,
    as_nanoseconds,
)
from kai_tracing_core.trace_context import RANDOM, SAMPLED, TraceContext

if TYPE_CHECKING:
    from kai_tracing_core.processing.pipeline import SpanPipeline

__all__ = ["starter"]

logger = lazy_logger(__name__)

S = TypeVar("S", bound=Span)


def starter(  # noqa: C901, PLR0915 - nearly all of it is `start`
    pipeline: SpanPipeline,
) -> tuple[Callable[..., Span], Callable[[], None]]:
    """What starts the spans of `pipeline`, and what has it look again after the pipeline changed.

    That is its classes, its runtime context, and who is told of a start.
    """
    sampler, clock = pipeline.sampler, pipeline.clock
    # Each variable that `start` uses costs it as much as looking at one twice: what few spans need is the pipeline's.
    kept_root = pipeline.share(pipeline, SAMPLED | RANDOM) if sampler.always else None
    new_trace_id = pipeline.ids.trace_id
    take_id = pipeline.recorded_ids.spare.pop
    max_attributes = pipeline.limits.attributes
    current: Callable[[], Any]
    new_span: Callable[[], Span]
    on_start: Callable[..., None] | None

    def look_again() -> None:
        nonlocal current, new_span, on_start
        # What Python need not call is called directly: the context variable, and a class without a constructor.
        current = get_current if type(pipeline.runtime) is RuntimeContext else pipeline.runtime.get
        new_span = _allocator(pipeline.span_class)
        pipeline.new_scoped_span = _allocator(pipeline.span_class._scoped)
        pipeline.new_non_recording_span = _allocator(pipeline.non_recording_class)
        on_start = pipeline.on_start

    # Callers give all but the name by keyword, but where that were a must (`*`) each default left to its own would be
    # looked up in a dictionary: 3 % of a span. And there are no more than 16 variables, since an instruction that loads
    # two at once (from Python 3.13 on) can name no others.
    def start(  # noqa: C901, PLR0912, PLR0915 - one function, since every further call costs 5 % of a span
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        parent: Any = None,  # Span | TraceContext | None
        links: Sequence[Link | TraceContext] | None = None,
        start_time: Time | None = None,
        record_exception: bool = True,
        scope: Scope | None = None,
    ) -> Span:
        """A new span, not yet current. The parent is the current span unless one is given."""
        rare: Rare | None = None
        span: Any  # since the two classes share no constructor
        if parent is None:
            parent = current()
            if parent is not None and parent._end:
                parent = _resolve(parent, current)
        elif isinstance(parent, Span):
            rare = Rare.carrying(parent._carried)
        elif isinstance(parent, TraceContext):
            rare = Rare.carrying(parent.baggage)
        else:
            logger.debug("not a parent: %s", type(parent).__name__)
            return pipeline.start(name, kind, attributes, None, links, start_time, record_exception, scope)

        if parent is None:
            parent_id = 0
            trace_id = new_trace_id() or 1
            shared = kept_root
            if shared is None:
                try:
                    if pipeline.drops_root(trace_id):
                        shared = pipeline.dropped_root
                except Exception:
                    pipeline.complain()
                if shared is None:
                    shared, trace_id, parent_id, attributes = pipeline.decide(
                        name, kind, attributes, None, links, trace_id
                    )
        else:
            shared = parent._shared
            if shared.owner is pipeline:
                trace_id = parent._trace_id
                parent_id = parent._span_id
            elif shared.for_children is not None and shared.for_children.owner is pipeline:
                shared = shared.for_children
                trace_id = parent._trace_id
                parent_id = parent._span_id
            else:
                shared, trace_id, parent_id, attributes = pipeline.decide(name, kind, attributes, parent, links)

        if shared.sink is None:
            span = pipeline.new_non_recording_span()
            span.name = name
            span._kind = kind
            span._trace_id = trace_id
            try:
                span._span_id = pipeline.take_unsampled_id()
            except IndexError:
                span._span_id = pipeline.unsampled_ids.more()
            span._shared = shared
            span._rare = rare
            span._previous = rare is not None  # INACTIVE or CARRYING
            span._end = False
            return span  # type: ignore[no-any-return]  # see above

        if scope is None:
            span = new_span()
        else:
            span = pipeline.new_scoped_span()
            span._scope = scope
        span.name = name
        span._kind = kind
        span._trace_id = trace_id
        try:
            span._span_id = take_id()
        except IndexError:
            span._span_id = pipeline.recorded_ids.more()
        span._parent_id = parent_id
        span._shared = shared
        span._rare = rare
        if attributes is None:
            span._attributes = {}
        else:
            try:
                span._attributes = {**attributes}
            except Exception:
                span._attributes = as_mapping(attributes)
        span._end = False
        span._previous = rare is not None  # INACTIVE or CARRYING
        span._room = max_attributes
        if not record_exception:
            span._get_rare().silent = True
        if links is not None:
            _link(span, links)
        span._start = clock() if start_time is None else as_nanoseconds(start_time, clock)
        if on_start is not None:
            on_start(span, parent)
        return span  # type: ignore[no-any-return]  # see above

    look_again()
    return start, look_again


def _resolve(ended: Any, current: Callable[[], Any]) -> Any:
    found = resolve(ended)
    if current is get_current:  # so that the token of the span that starts keeps no ended one alive
        set_current(found)
    return found


def _allocator(kind: type[S]) -> Callable[[], S]:
    """What makes an instance without running a constructor."""
    return kind if kind.__init__ is object.__init__ else partial(object.__new__, kind)


def _link(span: Span, links: Sequence[Link | TraceContext]) -> None:
    try:
        for link in links:
            span.add_link(link)
    except TypeError:
        logger.debug("no links: %s", type(links).__name__)
