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
from kai_tracing_core.trace_context import RANDOM, SAMPLED, TraceContext

if TYPE_CHECKING:
    from kai_tracing_core.processing.pipeline import SpanPipeline

__all__ = ["starter"]

logger = lazy_logger(__name__)

S = TypeVar("S", bound=Span)

_INTERNAL = SpanKind.INTERNAL
_NO_LINKS: tuple[()] = ()


def starter(  # noqa: C901, PLR0915 - nearly all of it is `start`
    pipeline: SpanPipeline,
) -> tuple[Callable[..., Span], Callable[[], None]]:
    """What starts the spans of `pipeline`, and what has it look again after the pipeline changed.

    That is its classes, its runtime context, and who is told of a start.
    """
    sampler, clock = pipeline.sampler, pipeline.clock
    # Each variable that `start` uses costs it as much as looking at one twice: what few spans need is the pipeline's.
    drops_root = None if sampler.always else sampler.drops_root or _drops_none
    kept_root, dropped_root = pipeline.share(pipeline, SAMPLED | RANDOM), pipeline.share(None, RANDOM)
    new_trace_id = pipeline.ids.trace_id
    take_id, take_unsampled_id = pipeline.recorded_ids.spare.pop, pipeline.unsampled_ids.spare.pop
    max_attributes = pipeline.limits.attributes
    current: Callable[[], Any]
    new_span: Callable[[], Span]
    new_non_recording_span: Callable[[], NonRecordingSpan]
    on_start: Callable[..., None] | None

    def look_again() -> None:
        nonlocal current, new_span, new_non_recording_span, on_start
        # What Python need not call is called directly: the context variable, and a class without a constructor.
        current = get_current if type(pipeline.runtime) is RuntimeContext else pipeline.runtime.get
        new_span, new_non_recording_span = _allocator(pipeline.span_class), _allocator(pipeline.non_recording_class)
        on_start = pipeline.on_start

    # Callers give all but the name by keyword, but where that were a must (`*`) each default left to its own would be
    # looked up in a dictionary: 3 % of a span. And there are 16 variables, since an instruction that loads two at once
    # (from Python 3.13 on) can name no others.
    def start(  # noqa: C901, PLR0912, PLR0915 - one function, since every further call costs 5 % of a span
        name: str,
        kind: SpanKind = _INTERNAL,
        attributes: Attributes | None = None,
        parent: Span | TraceContext | None = None,
        links: Sequence[Link | TraceContext] = _NO_LINKS,
        start_time: Time | None = None,
        record_exception: bool = True,
        scope: Scope | None = None,
    ) -> Span:
        """A new span, not yet current. The parent is the current span unless one is given."""
        rare: Rare | None = None
        given: Any = parent
        span: Any  # since the two classes share no constructor
        if given is None:
            given = current()
            if given is not None and given._end:
                given = _resolve(given, current)
        elif isinstance(given, Span):
            rare = Rare.carrying(given._carried)
        elif isinstance(given, TraceContext):
            rare = Rare.carrying(given.baggage)
        else:
            logger.debug("not a parent: %s", type(given).__name__)
            return pipeline.start(name, kind, attributes, None, links, start_time, record_exception, scope)
        if type(name) is not str or (kind is not _INTERNAL and type(kind) is not SpanKind):
            name, kind = as_text(name), as_kind(kind)

        if given is None:
            parent_id = 0
            trace_id = new_trace_id() or 1
            if drops_root is None:
                shared = kept_root
            else:
                try:
                    dropped = drops_root(trace_id)
                except Exception as error:
                    dropped = False
                    pipeline.complain(error)
                if dropped:
                    shared = dropped_root
                else:
                    shared, trace_id, parent_id, attributes = pipeline.decide(
                        name, kind, attributes, None, links, trace_id
                    )
        else:
            shared = given._shared
            if shared.for_children is not None:
                shared = shared.for_children
            if shared.owner is pipeline:
                trace_id = given._trace_id
                parent_id = given._span_id
            else:
                shared, trace_id, parent_id, attributes = pipeline.decide(name, kind, attributes, given, links)

        if shared.sink is None:
            span = new_non_recording_span()
            span.name = name
            span._kind = kind
            span._trace_id = trace_id
            try:
                span._span_id = take_unsampled_id()
            except IndexError:
                span._span_id = pipeline.unsampled_ids.more()
            span._shared = shared
            span._rare = rare
            span._previous = INACTIVE
            span._end = False
            return span  # type: ignore[no-any-return]  # see above

        span = new_span()
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
        span._previous = INACTIVE
        span._scope = scope
        span._room = max_attributes
        if not record_exception:
            span._get_rare().silent = True
        if links is not _NO_LINKS:
            _link(span, links)
        span._start = clock() if start_time is None else as_nanoseconds(start_time, clock)
        if on_start is not None:
            on_start(span, given)
        return span  # type: ignore[no-any-return]  # see above

    look_again()
    return start, look_again


def _drops_none(_: int) -> bool:
    return False


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
