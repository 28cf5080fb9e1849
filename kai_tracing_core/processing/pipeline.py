"""From the call that starts a span to the processors that take it when it ended: the hot path.

Everything here is measured (`make bench`). A span is filled in without a constructor, a child of a local parent
inherits the decision without asking the sampler, and nobody is called who is not registered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from time import time_ns
from typing import Any, TypeVar

from kai_tracing_core.attributes import Attributes, AttributeValue, SpanLimits
from kai_tracing_core.context import INACTIVE, RuntimeContext, get_current, resolve, set_current
from kai_tracing_core.processing import lifecycle
from kai_tracing_core.processing.batch import BatchOptions
from kai_tracing_core.processing.ids import IdGenerator, RandomIds
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.processing.spool import SpoolOptions
from kai_tracing_core.sampling.always import AlwaysOn
from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult
from kai_tracing_core.sampling.parent_based import ParentBased
from kai_tracing_core.sampling.threshold import known_count
from kai_tracing_core.span import Link, NonRecordingSpan, Scope, Span, SpanKind, Time
from kai_tracing_core.span_parts import as_kind, as_mapping, as_nanoseconds, as_text
from kai_tracing_core.trace_context import (
    DEBUG,
    DECISION_ONLY,
    DEFERRED,
    PARENT_REMOTE,
    RANDOM,
    SAMPLED,
    TraceContext,
)

__all__ = ["PipelineConfig", "SpanPipeline"]

logger = logging.getLogger(__name__)

S = TypeVar("S", bound=Span)

_INHERITED = ~(PARENT_REMOTE | DEFERRED | DECISION_ONLY | SAMPLED)
# Up to Python 3.10 finding a member of an enumeration takes as long as a twentieth of a span.
_SAMPLE, _DROP = SamplingDecision.RECORD_AND_SAMPLE, SamplingDecision.DROP
_KEEP = SamplingResult(_SAMPLE)
_NO_ATTRIBUTES: Mapping[str, Any] = {}


@dataclass(slots=True)
class PipelineConfig:
    """What a recording provider is made of, apart from its exporter; every field has a working default.

    `processors` see every recorded span, in their order, before it is queued. `wrap_sink`, innermost first, replace
    the queue by something in front of it, such as tail sampling. With `spool`, batches wait on disk while the backend
    is away. `clock` gives nanoseconds since the epoch.
    """

    resource: Mapping[str, AttributeValue] = field(default_factory=lambda: {"service.name": "unknown_service"})
    sampler: Sampler = field(default_factory=lambda: ParentBased(AlwaysOn()))
    limits: SpanLimits = field(default_factory=SpanLimits)
    batch: BatchOptions = field(default_factory=BatchOptions)
    processors: Sequence[SpanProcessor] = ()
    wrap_sink: Sequence[Callable[[SpanProcessor], SpanProcessor]] = ()
    spool: SpoolOptions | None = None
    ids: IdGenerator = field(default_factory=RandomIds)
    clock: Callable[[], int] = time_ns
    runtime: RuntimeContext = field(default_factory=RuntimeContext)
    span_class: type[Span] = Span
    non_recording_class: type[NonRecordingSpan] = NonRecordingSpan


class SpanPipeline:
    """Starts spans and hands the finished ones to `sink`."""

    def __init__(self, config: PipelineConfig, sink: SpanProcessor) -> None:
        self.resource = config.resource
        self.limits = config.limits
        self._max_attributes = config.limits.attributes
        self.clock = config.clock
        self.sampler = config.sampler
        self.sink = sink
        self.processors = tuple(config.processors)
        self.started = 0
        self.unsampled = 0
        self._new_trace_id = config.ids.trace_id
        self._new_span_id = config.ids.span_id
        self._inherits = config.sampler.inherits_local
        self._always = config.sampler.always
        self._drops_root = config.sampler.drops_root
        self._complained = False
        self.use(config.runtime, config.span_class, config.non_recording_class)
        self._bind_processors()
        lifecycle.register_fork(self)

    def use(self, runtime: RuntimeContext, span_class: type[Span], non_recording_class: type[NonRecordingSpan]) -> None:
        """Make spans of these classes from now on, and look for the current one in `runtime`."""
        self.runtime = runtime
        # What Python need not call is called directly: the context variable, and a class without a constructor.
        self._get_current = get_current if type(runtime) is RuntimeContext else runtime.get
        self._new_span = _allocator(span_class)
        self._new_non_recording_span = _allocator(non_recording_class)
        self.span_class = span_class
        self.non_recording_class = non_recording_class

    def add_processor(self, processor: SpanProcessor, *, first: bool = False) -> None:
        """Have `processor` see every span from now on, after the others or before them."""
        self.processors = (processor, *self.processors) if first else (*self.processors, processor)
        self._bind_processors()

    def _bind_processors(self) -> None:
        self._on_start = self._bound("on_start")
        self.on_ending = self._bound("on_ending")
        self.on_end = self._bound("on_end") or _ignore

    def _bound(self, method: str) -> Callable[..., None] | None:
        """One function that calls the method of every processor that has it; None where none has."""
        own = getattr(SpanProcessor, method)
        having = [
            processor for processor in (*self.processors, self.sink) if getattr(type(processor), method, own) is not own
        ]
        calls = [getattr(processor, method) for processor in having]
        if len(calls) == 1 and having[0].trusted:
            return calls[0]  # type: ignore[no-any-return]
        return _guarded(calls) if calls else None

    # Callers give all but the name by keyword, but where that were a must (`*`) each default left to its own would be
    # looked up in a dictionary: 3 % of a span.
    def start(  # noqa: C901, PLR0912, PLR0915 - one function, since every further call costs 5 % of a span
        self,
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
        carried = None
        given: Any = parent
        if given is None:
            given = self._get_current()
            if given is not None and given._end:
                given = self._resolve_current(given)
        elif isinstance(given, Span):
            carried = given._carried
        elif isinstance(given, TraceContext):
            carried = given.baggage
        else:
            logger.debug("not a parent: %s", type(given).__name__)
            return self.start(name, kind, attributes, None, links, start_time, record_exception, scope)
        if type(name) is not str or type(kind) is not SpanKind:
            name, kind = as_text(name), as_kind(kind)
        self.started += 1
        if self._inherits and type(given) is self.span_class and given._flags & SAMPLED:
            flags = given._flags & ~PARENT_REMOTE
            trace_id = given._trace_id
            parent_id = given._span_id
            state = given._trace_state
            weight = given._weight
        elif given is None and self._always:
            flags = SAMPLED | RANDOM
            trace_id = self._new_trace_id() or 1
            parent_id = 0
            state = ""
            weight = None
        elif (
            self._inherits
            and type(given) is self.non_recording_class
            and given._trace_id
            and not given._flags & SAMPLED  # one with the flag stands for a span elsewhere
        ):
            return self._not_recording(name, kind, given._trace_id, given._flags, given._trace_state, carried)
        else:
            trace_id = 0
            if given is None and self._drops_root is not None:
                trace_id = self._new_trace_id() or 1
                try:
                    if self._drops_root(trace_id):
                        return self._not_recording(name, kind, trace_id, RANDOM, "", carried)
                except Exception as error:
                    self._complain(error)
            attributes = as_mapping(attributes)
            request, flags = self._request(name, kind, attributes, given, links, trace_id)
            result = self._ask(request)
            state = request.trace_state if result.trace_state is None else result.trace_state
            trace_id = request.trace_id
            if flags & DEBUG or result.decision == _SAMPLE:
                flags |= SAMPLED
            elif result.decision == _DROP:
                return self._not_recording(name, kind, trace_id, flags, state, carried)
            if result.attributes:
                attributes = {**attributes, **result.attributes}
            parent_id = given._span_id if given is not None and given._trace_id else 0
            weight = result.adjusted_count
            if weight is None and given is not None:
                weight = given._weight
                if weight is None and given._flags & SAMPLED:
                    weight = known_count(given._trace_state, trace_id)

        span = self._new_span()
        span.name = name
        span._kind = kind
        span._trace_id = trace_id
        span._span_id = self._new_span_id() or 1
        span._parent_id = parent_id
        span._flags = flags
        span._trace_state = state
        span._weight = weight
        span._carried = carried
        span._events = span._links = span._message = span._dropped = None
        if attributes:
            try:
                span._attributes = {**attributes}
            except Exception:
                span._attributes = as_mapping(attributes)
            if len(span._attributes) > self._max_attributes:
                self._truncate(span)
        else:
            span._attributes = {}
        span._status = span._end = 0
        span._previous = INACTIVE
        span._record_exception = record_exception
        span._scope = scope
        span._sink = self
        span._open = True
        if links:
            self._link(span, links)
        span._start = self.clock() if start_time is None else as_nanoseconds(start_time, self.clock)
        if self._on_start is not None:
            self._on_start(span, given)
        return span

    def _resolve_current(self, ended: Any) -> Any:
        current = resolve(ended)
        if self._get_current is get_current:  # so that the token of the span that starts keeps no ended one alive
            set_current(current)
        return current

    def _request(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes | None,
        given: Any,
        links: Sequence[Link | TraceContext],
        trace_id: int,
    ) -> tuple[SamplingRequest, int]:
        """What to ask the sampler, and the flags that the span has apart from the decision."""
        if given is None or not given._trace_id:
            # Where only a decision came (`b3: 0`), the new trace has a parent for the sampler to follow, but no other.
            follows = given is not None and given._flags & DECISION_ONLY
            context = given.trace_context if follows else None
            flags = RANDOM | (given._flags & DEBUG if follows else 0)
            trace_id = trace_id or self._new_trace_id() or 1
        else:
            context = given.trace_context
            trace_id = given._trace_id
            flags = given._flags & _INHERITED
            if context.is_remote:
                flags |= PARENT_REMOTE
        return SamplingRequest(trace_id, name, kind, attributes or _NO_ATTRIBUTES, context, links), flags

    def _ask(self, request: SamplingRequest) -> SamplingResult:
        try:
            return self.sampler.should_sample(request)
        except Exception as error:
            self._complain(error)
            return _KEEP

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            logger.error("the sampler %r raises; what it raises on is recorded", self.sampler, exc_info=error)

    def _not_recording(
        self,
        name: str,
        kind: SpanKind,
        trace_id: int,
        flags: int,
        state: str,
        carried: Mapping[str, str] | None,
    ) -> NonRecordingSpan:
        self.unsampled += 1
        span = self._new_non_recording_span()
        span.name = name
        span._kind = kind
        span._trace_id = trace_id
        span._span_id = self._new_span_id() or 1
        span._flags = flags
        span._trace_state = state
        span._carried = carried
        span._previous = INACTIVE
        span._weight = span._scope = span._sink = None
        span._parent_id = span._start = span._end = span._status = 0
        span._open = True
        return span

    @staticmethod
    def _link(span: Span, links: Sequence[Link | TraceContext]) -> None:
        try:
            for link in links:
                span.add_link(link)
        except TypeError:
            logger.debug("no links: %s", type(links).__name__)

    def _truncate(self, span: Span) -> None:
        limit = self.limits.attributes
        span._drop(0, len(span._attributes) - limit)
        span._attributes = dict(islice(span._attributes.items(), limit))

    def forward(self, other: SpanPipeline) -> Callable[[Span], None]:
        """Hand what ends from now on to `other`, where it counts as started, too. Returns what does so."""

        def on_end(span: Span) -> None:
            other.started += 1
            other.on_end(span)

        self.on_end = on_end
        return on_end

    def after_fork(self) -> None:
        """In a forked child: count from zero."""
        self.started = self.unsampled = 0

    def flush(self, timeout: float) -> bool:
        """Flush every processor, the sink last."""
        flushed = [processor.flush(timeout) for processor in (*self.processors, self.sink)]
        return all(flushed)

    def shutdown(self, timeout: float) -> bool:
        """Shut down every processor, the sink last, and the sampler."""
        done = [processor.shutdown(timeout) for processor in (*self.processors, self.sink)]
        self.sampler.close()
        return all(done)


def _allocator(kind: type[S]) -> Callable[[], S]:
    """What makes an instance without running a constructor."""
    return kind if kind.__init__ is object.__init__ else partial(object.__new__, kind)


def _ignore(span: Span) -> None:
    """Where nobody takes finished spans."""


def _guarded(calls: Sequence[Callable[..., None]]) -> Callable[..., None]:
    """One function that calls all of them, each whatever the others raise."""

    def run(*args: Any) -> None:
        for call in calls:
            try:
                call(*args)
            except Exception:
                logger.exception("%r raised; the span goes on", call)

    return run
