"""What stands between the call that starts a span and the queue that takes it when it ended.

`starting` has the function that is called for every span; what it need not look at each time is here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from time import time_ns
from typing import TYPE_CHECKING, Any

from kai_tracing_core.attributes import Attributes, AttributeValue, SpanLimits
from kai_tracing_core.context import RuntimeContext
from kai_tracing_core.lazy import lazy_logger
from kai_tracing_core.non_recording import NonRecordingSpan
from kai_tracing_core.processing import lifecycle
from kai_tracing_core.processing.batch import BatchOptions
from kai_tracing_core.processing.ids import IdGenerator, IdStock, RandomIds
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.processing.starting import starter
from kai_tracing_core.sampling.always import AlwaysOn
from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult
from kai_tracing_core.sampling.parent_based import ParentBased
from kai_tracing_core.sampling.threshold import known_count
from kai_tracing_core.span import Link, Span, SpanKind
from kai_tracing_core.span_parts import as_kind, as_mapping, as_text
from kai_tracing_core.trace_context import (
    DEBUG,
    DECISION_ONLY,
    DEFERRED,
    PARENT_REMOTE,
    RANDOM,
    SAMPLED,
    Shared,
    TraceContext,
)

if TYPE_CHECKING:
    from kai_tracing_core.processing.spool import SpoolOptions

__all__ = ["PipelineConfig", "SpanPipeline"]

logger = lazy_logger(__name__)

_INHERITED = ~(PARENT_REMOTE | DEFERRED | DECISION_ONLY | SAMPLED)
# Up to Python 3.10 finding a member of an enumeration takes as long as a twentieth of a span.
_SAMPLE, _DROP = SamplingDecision.RECORD_AND_SAMPLE, SamplingDecision.DROP
_KEEP = SamplingResult(_SAMPLE)
_NO_ATTRIBUTES: Mapping[str, Any] = {}


class PipelineConfig:
    """What a recording provider is made of, apart from its exporter; every field has a working default.

    `processors` see every recorded span, in their order, before it is queued. `wrap_sink`, innermost first, replace
    the queue by something in front of it, such as tail sampling. With `spool`, batches wait on disk while the backend
    is away. `clock` gives nanoseconds since the epoch.
    """

    def __init__(
        self,
        *,
        resource: Mapping[str, AttributeValue] | None = None,
        sampler: Sampler | None = None,
        limits: SpanLimits | None = None,
        batch: BatchOptions | None = None,
        processors: Sequence[SpanProcessor] = (),
        wrap_sink: Sequence[Callable[[SpanProcessor], SpanProcessor]] = (),
        spool: SpoolOptions | None = None,
        ids: IdGenerator | None = None,
        clock: Callable[[], int] = time_ns,
        runtime: RuntimeContext | None = None,
        span_class: type[Span] = Span,
        non_recording_class: type[NonRecordingSpan] = NonRecordingSpan,
    ) -> None:
        self.resource = {"service.name": "unknown_service"} if resource is None else resource
        self.sampler = sampler or ParentBased(AlwaysOn())
        self.limits = limits or SpanLimits()
        self.batch = batch or BatchOptions()
        self.processors = processors
        self.wrap_sink = wrap_sink
        self.spool = spool
        self.ids = ids or RandomIds()
        self.clock = clock
        self.runtime = runtime or RuntimeContext()
        self.span_class = span_class
        self.non_recording_class = non_recording_class


class SpanPipeline:
    """Starts spans and hands the finished ones to `sink`."""

    def __init__(self, config: PipelineConfig, sink: SpanProcessor) -> None:
        self.resource = config.resource
        self.limits = config.limits
        self.clock = config.clock
        self.ids = config.ids
        self.sampler = config.sampler
        self.sink = sink
        self.processors = tuple(config.processors)
        self.recorded_ids = IdStock(config.ids)
        self.unsampled_ids = IdStock(config.ids)
        self._received = 0
        self._complained = False
        self.runtime = config.runtime
        self.span_class = config.span_class
        self.non_recording_class = config.non_recording_class
        self._bind_processors()
        self.unqueued = _Unqueued(self)
        self._shared: dict[tuple[Any, int], Shared] = {}
        self.drops_root, self.dropped_root = self.sampler.drops_root or _drops_none, self.share(None, RANDOM)
        self.take_unsampled_id = self.unsampled_ids.spare.pop
        self.new_non_recording_span: Callable[[], NonRecordingSpan]
        self.new_scoped_span: Callable[[], Span]
        self.start, self._start_anew = starter(self)
        lifecycle.register_fork(self)

    def use(self, runtime: RuntimeContext, span_class: type[Span], non_recording_class: type[NonRecordingSpan]) -> None:
        """Make spans of these classes from now on, and look for the current one in `runtime`."""
        self.runtime = runtime
        self.span_class = span_class
        self.non_recording_class = non_recording_class
        self._start_anew()

    @property
    def started(self) -> int:
        """How many spans have started."""
        return self.recorded_ids.taken + self.unsampled + self._received

    @property
    def unsampled(self) -> int:
        """How many of them are not recorded."""
        return self.unsampled_ids.taken

    def add_processor(self, processor: SpanProcessor, *, first: bool = False) -> None:
        """Have `processor` see every span from now on, after the others or before them."""
        self.processors = (processor, *self.processors) if first else (*self.processors, processor)
        self._bind_processors()
        self._start_anew()

    def _bind_processors(self) -> None:
        self.on_start = self._bound("on_start")
        self.on_ending = self._bound("on_ending")
        self.on_end = self._bound("on_end") or _ignore
        # Where nobody else is told of the end, the span puts itself into the queue, and without looking any further
        # where nobody is asked, either: a call less, 4 % of a span.
        alone = self.on_end == self.sink.on_end
        self.queue = self.sink.inbox if alone else None
        self.inbox = self.queue if self.on_ending is None else None

    def _bound(self, method: str) -> Callable[..., None] | None:
        """One function that calls the method of every processor that has it; None where none has."""
        own = getattr(SpanProcessor, method)
        having = [
            processor for processor in (*self.processors, self.sink) if getattr(type(processor), method, own) is not own
        ]
        calls = [getattr(processor, method) for processor in having]
        if len(calls) == 1 and having[0].trusted:
            return calls[0]  # type: ignore[no-any-return]  # from getattr
        return _guarded(calls) if calls else None

    def decide(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes | None,
        given: Any,
        links: Sequence[Link | TraceContext] | None,
        trace_id: int = 0,
    ) -> tuple[Shared, int, int, Attributes | None]:
        """Ask the sampler: what the span shares, trace id, parent id (0 where nothing is recorded), attributes."""
        attributes = as_mapping(attributes)
        request, flags = self._request(as_text(name), as_kind(kind), attributes, given, links or (), trace_id)
        result = self._ask(request)
        state = request.trace_state if result.trace_state is None else result.trace_state
        trace_id = request.trace_id
        if flags & DEBUG or result.decision == _SAMPLE:
            flags |= SAMPLED
        elif result.decision == _DROP:
            return self.share(None, flags, state), trace_id, 0, None
        if result.attributes:
            attributes = {**attributes, **result.attributes}
        weight = result.adjusted_count
        if weight is None and given is not None:
            weight = given._weight
            if weight is None and given._flags & SAMPLED:
                weight = known_count(given._trace_state, trace_id)
        parent_id = given._span_id if given is not None and given._trace_id else 0
        sink = self if flags & SAMPLED else self.unqueued
        return self.share(sink, flags, state, weight), trace_id, parent_id, attributes

    def share(self, sink: Any, flags: int, state: str = "", weight: float | None = None) -> Shared:
        """What a span with this decision has in common with its children; they follow it where the sampler does."""
        plain = not state and weight is None  # of those there are few
        if plain and (known := self._shared.get((sink, flags))) is not None:
            return known
        owner = self if self.sampler.inherits_local and sink is not self.unqueued else None
        if flags & PARENT_REMOTE:  # which no child has, so that it follows another one
            below = self.share(sink, flags & ~PARENT_REMOTE, state, weight)
            made = Shared(flags, state, weight, sink=sink, for_children=below)
        else:
            made = Shared(flags, state, weight, sink=sink, owner=owner)
        if plain:
            self._shared[sink, flags] = made
        return made

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
            trace_id = trace_id or self.ids.trace_id() or 1
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
        except Exception:
            self.complain()
            return _KEEP

    def complain(self) -> None:
        """Log, once, that the sampler raises what is being handled."""
        if not self._complained:
            self._complained = True
            logger.error("the sampler %r raises; what it raises on is recorded", self.sampler, exc_info=sys.exc_info())

    def forward(self, other: SpanPipeline) -> Callable[[Span], None]:
        """Hand what ends from now on to `other`, where it counts as started, too. Returns what does so."""

        def on_end(span: Span) -> None:
            other._received += 1
            other.on_end(span)

        self.on_end = on_end
        self.inbox = self.queue = None
        return on_end

    def after_fork(self) -> None:
        """In a forked child: count from zero."""
        self.recorded_ids.reset()
        self.unsampled_ids.reset()
        self._received = 0

    def flush(self, timeout: float) -> bool:
        """Flush every processor, the sink last."""
        flushed = [processor.flush(timeout) for processor in (*self.processors, self.sink)]
        return all(flushed)

    def shutdown(self, timeout: float) -> bool:
        """Shut down every processor, the sink last, and the sampler."""
        done = [processor.shutdown(timeout) for processor in (*self.processors, self.sink)]
        self.sampler.close()
        return all(done)


class _Unqueued:
    """The pipeline as those spans see it that are recorded without being sampled: they must not queue themselves."""

    def __init__(self, pipeline: SpanPipeline) -> None:
        self._pipeline = pipeline
        self.inbox = self.queue = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)


def _drops_none(_: int) -> bool:
    return False


def _ignore(span: Span) -> None:
    """Where nobody takes finished spans."""


def _guarded(calls: Sequence[Callable[..., None]]) -> Callable[..., None]:
    """One function that calls all of them with a span that is fit for export, each whatever the others raise."""

    def run(span: Span, *parent: Any) -> None:
        span._mend()
        for call in calls:
            try:
                call(span, *parent)
            except Exception:
                logger.exception("%r raised; the span goes on", call)

    return run
