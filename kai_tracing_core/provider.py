"""The contract of a tracing provider, and the base that most providers extend.

A provider that sends spans somewhere extends `RecordingProvider` and says how (`create_exporter`); sampling, limits,
batching, retry, propagation, fork- and exit-safety are there already. One that brings a tracer of its own implements
`TracingProvider`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

from kai_tracing_core.attributes import Attributes
from kai_tracing_core.context import RuntimeContext, resolve
from kai_tracing_core.lazy import lazy_logger
from kai_tracing_core.non_recording import NonRecordingSpan
from kai_tracing_core.processing.batch import BatchProcessor
from kai_tracing_core.processing.pipeline import PipelineConfig, SpanPipeline
from kai_tracing_core.processing.processor import PayloadExporter, SpanExporter, SpanProcessor, Stats
from kai_tracing_core.propagation.base import Carrier, Propagator
from kai_tracing_core.propagation.composite import default_propagator
from kai_tracing_core.running import run_under
from kai_tracing_core.span import Link, Span, SpanKind, SpanOptions, SpanStatusCode, Time
from kai_tracing_core.trace_context import TraceContext

if TYPE_CHECKING:
    from typing_extensions import Self

    from kai_tracing_core.settings import ProviderSettings, TracingSettings
    from kai_tracing_core.telemetry.contract import TelemetryService

__all__ = ["RecordingProvider", "TracingProvider"]

logger = lazy_logger(__name__)

R = TypeVar("R")


class TracingProvider(ABC):
    """What `TracingService` delegates to. All methods may be called from any thread and must not block or raise."""

    name: ClassVar[str] = "custom"
    """What `TRACING_TYPE` says to choose it."""

    settings_model: ClassVar[type[ProviderSettings] | None] = None
    """The model of its own settings section; `from_settings` hands an instance to the constructor."""

    default_propagators: ClassVar[tuple[str, ...]] = ("tracecontext", "baggage")
    """The formats it speaks where `TRACING_PROPAGATORS` does not say otherwise."""

    runtime: RuntimeContext
    """Where it keeps the current span."""

    telemetry: Sequence[TelemetryService] = ()
    """What its finished spans are reported to as metrics."""

    @classmethod
    def from_settings(cls, settings: TracingSettings, config: PipelineConfig, propagator: Propagator | None) -> Self:
        """Make one as `TRACING_*` describes it; called once at start-up, may raise."""
        options: dict[str, Any] = {"config": config, "propagator": propagator}
        if cls.settings_model is not None:
            options["settings"] = settings.section(cls.settings_model)
        return cls(**options)

    def initialize(self) -> None:
        """Prepare for use; called by `TracingService.enable`, perhaps more than once. May raise."""

    @abstractmethod
    def start_span(self, name: str, options: SpanOptions | None = None) -> Span:
        """Start a span, current unless `options.activate` is False."""

    def span(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        parent: Span | TraceContext | None = None,
        links: Sequence[Link | TraceContext] = (),
        start_time: Time | None = None,
        record_exception: bool = True,
    ) -> Span:
        """Start a span that becomes current when its `with` block is entered."""
        options = SpanOptions(kind, attributes, parent, links, start_time, False, record_exception)
        return self.start_span(name, options)

    def end_span(self, span: Span, end_time: Time | None = None) -> None:
        """End the span, now or at `end_time`."""
        span.end(end_time)

    def set_span_status(self, span: Span, code: SpanStatusCode, message: str | None = None) -> None:
        """Say how the span's operation ended."""
        span.set_status(code, message)

    def add_span_attributes(self, span: Span, attributes: Attributes) -> None:
        """Set attributes of the span."""
        span.set_attributes(attributes)

    def add_span_event(
        self, span: Span, name: str, attributes: Attributes | None = None, timestamp: Time | None = None
    ) -> None:
        """Record an event of the span."""
        span.add_event(name, attributes, timestamp)

    @abstractmethod
    def get_current_span(self) -> Span | None:
        """The span that is current in this thread or task; never one that has ended."""

    @overload
    def with_span(self, span: Span, fn: Callable[[], Awaitable[R]]) -> Awaitable[R]: ...
    @overload
    def with_span(self, span: Span, fn: Callable[[], R]) -> R: ...
    def with_span(self, span: Span, fn: Callable[[], Any]) -> Any:
        """Call `fn` under the span and end the span when it is done; for a coroutine function, an awaitable of it."""
        return run_under(self.runtime, span, fn)

    @abstractmethod
    def extract_context(self, carrier: Carrier) -> TraceContext | None:
        """The remote trace context that the carrier (request headers) brings, or None."""

    @abstractmethod
    def inject_context(self, trace_context: TraceContext, carrier: MutableMapping[str, str]) -> None:
        """Write the trace context to the carrier (request headers)."""

    def hand_over(self, successor: TracingProvider) -> None:
        """Before the shutdown, when another provider takes its place: give it what still runs, if that can be."""

    def flush(self, timeout: float = 30.0) -> bool:
        """Deliver what has ended, within `timeout` seconds. Returns whether all of it was dealt with."""
        return True

    def shutdown(self, timeout: float = 5.0) -> bool:
        """Flush and release everything. Later spans are dropped."""
        return True

    def stats(self) -> Stats:
        """Where its spans are."""
        return Stats()


class RecordingProvider(TracingProvider):
    """A provider whose spans are ours: it adds an exporter, and has everything else."""

    def __init__(self, *, config: PipelineConfig | None = None, propagator: Propagator | None = None) -> None:
        self.config = config or PipelineConfig()
        self.propagator = propagator or default_propagator(self.default_propagators)
        self.exporter = self.create_exporter()
        self.queue = self.create_queue(self.exporter)
        sink = self.queue
        for wrap in (self.config.sampler.wrap_sink, *self.config.wrap_sink):
            sink = wrap(sink)
        self.pipeline = SpanPipeline(self.config, sink)
        self.runtime = self.pipeline.runtime
        self.use(self.config.runtime, self.config.span_class, self.config.non_recording_class)
        if isinstance(self.queue, BatchProcessor):
            self.queue.resume()

    @abstractmethod
    def create_exporter(self) -> SpanExporter:
        """What encodes the spans and sends them away; called once, by the constructor."""

    def create_queue(self, exporter: SpanExporter) -> SpanProcessor:
        """What takes the finished spans; by default a `BatchProcessor`."""
        return BatchProcessor(self._spooling(exporter), self.config.batch, name=self.name, quiet=self._quiet)

    def _spooling(self, exporter: SpanExporter) -> SpanExporter:
        spool = self.config.spool
        if spool is None:
            return exporter
        if not isinstance(exporter, PayloadExporter):
            raise TypeError(
                f"the provider {self.name!r} cannot use a spool, since its exporter is no PayloadExporter: "
                "unset TRACING_SPOOL__DIRECTORY"
            )
        from kai_tracing_core.processing.spool import Spool
        from kai_tracing_core.processing.spooling import SpoolingExporter

        kind = f"{self.name}-{exporter.format}"
        try:
            return SpoolingExporter(
                exporter, Spool(spool.directory, max_bytes=spool.max_bytes, kind=kind), self.config.batch.retry
            )
        except OSError as error:
            raise ValueError(
                f"the spool directory {spool.directory} cannot be used: {error}; change TRACING_SPOOL__DIRECTORY"
            ) from error

    def _quiet(self) -> None:
        """On the exporting thread: whatever is traced there is a child of an unsampled span, hence not recorded."""
        self.runtime.attach(self.pipeline.non_recording_class.of(TraceContext(1, 1)))

    def use(self, runtime: RuntimeContext, span_class: type[Span], non_recording_class: type[NonRecordingSpan]) -> None:
        """Make spans of other classes, kept in another runtime context, as the OpenTelemetry bridge does."""
        self.pipeline.use(runtime, span_class, non_recording_class)
        self.runtime = runtime
        # The pipeline's own method, with nothing in between: a delegating layer costs 6 % of a span.
        vars(self)["span"] = self.pipeline.start

    def start_span(self, name: str, options: SpanOptions | None = None) -> Span:
        """Start a span, current unless `options.activate` is False."""
        if options is None:
            span = self.pipeline.start(name)
            span._activate()
            return span
        span = self.pipeline.start(
            name,
            kind=options.kind,
            attributes=options.attributes,
            parent=options.parent,
            links=options.links or None,
            start_time=options.start_time,
            record_exception=options.record_exception,
        )
        if options.activate:
            span._activate()
        return span

    def get_current_span(self) -> Span | None:
        """The span that is current in this thread or task; never one that has ended.

        Where only a context is current (a remote parent, or an inherited span that has ended) it is a non-recording
        span that stands for it.
        """
        current = self.runtime.get()
        if current is not None and current._end:
            current = resolve(current)
        if current is None or isinstance(current, Span):
            return current
        return self.pipeline.non_recording_class.of(current.trace_context)

    def extract_context(self, carrier: Carrier) -> TraceContext | None:
        """The remote trace context that the carrier brings in any of the configured formats, or None."""
        try:
            return self.propagator.extract_from(carrier)
        except Exception:
            logger.debug("nothing could be extracted from %s", type(carrier).__name__, exc_info=True)
            return None

    def inject_context(self, trace_context: TraceContext, carrier: MutableMapping[str, str]) -> None:
        """Write the trace context to the carrier in every configured format."""
        try:
            self.propagator.inject(trace_context, carrier)
        except Exception:
            logger.debug("%r could not be injected into %s", trace_context, type(carrier).__name__, exc_info=True)

    def hand_over(self, successor: TracingProvider) -> None:
        """Have what ends from now on go to `successor`, if that is a `RecordingProvider`, too."""
        if isinstance(successor, RecordingProvider):
            # A thread that is just about to call the queue still does so, perhaps after it was shut down.
            self.queue.successor = self.pipeline.forward(successor.pipeline)

    def flush(self, timeout: float = 30.0) -> bool:
        """Deliver what has ended, within `timeout` seconds. Returns whether all of it was dealt with."""
        return self.pipeline.flush(timeout)

    def shutdown(self, timeout: float = 5.0) -> bool:
        """Flush and release everything. Later spans are dropped and counted."""
        return self.pipeline.shutdown(timeout)

    def stats(self) -> Stats:
        """Where its spans are."""
        return self.pipeline.sink.stats()._replace(started=self.pipeline.started, unsampled=self.pipeline.unsampled)
