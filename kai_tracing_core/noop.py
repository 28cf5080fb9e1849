"""Tracing that records nothing: what a disabled service does, and what the no-op provider is made of."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from kai_tracing_core.attributes import Attributes
from kai_tracing_core.context import BAGGAGE, CURRENT, RuntimeContext
from kai_tracing_core.lazy import lazy_logger
from kai_tracing_core.non_recording import NonRecordingSpan
from kai_tracing_core.propagation.base import Carrier, Propagator
from kai_tracing_core.propagation.composite import default_propagator
from kai_tracing_core.provider import TracingProvider
from kai_tracing_core.span import Link, Span, SpanKind, SpanOptions, Time
from kai_tracing_core.trace_context import TraceContext

if TYPE_CHECKING:
    from typing_extensions import Self

    from kai_tracing_core.processing.pipeline import PipelineConfig
    from kai_tracing_core.settings import TracingSettings

__all__ = ["NOOP_SPAN", "NoopProvider"]

logger = lazy_logger(__name__)


class _NoopSpan(NonRecordingSpan):
    """The one span of all that is not traced: it is never current, and passes on whatever context is."""

    __slots__ = ()

    def _activate(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
        end_time: Time | None = None,
    ) -> None:
        pass

    def end(self, end_time: Time | None = None) -> None:
        """Do nothing."""

    @property
    def trace_context(self) -> TraceContext:
        """The context that came in and is passed on unchanged; not valid where there is none."""
        current = CURRENT.get()
        if current is None or current is self:
            return TraceContext(baggage=BAGGAGE.get())
        return current.trace_context  # type: ignore[no-any-return]  # a variable of Any


NOOP_SPAN = _NoopSpan.of(TraceContext())


class _Runtime(RuntimeContext):
    """Keeps what is current, which the span that does nothing never becomes: it would hide what it passes on."""

    def attach(self, value: Span | TraceContext | None) -> Any:
        """Make `value` current, unless it is the span that does nothing."""
        return super().attach(CURRENT.get() if value is NOOP_SPAN else value)


class NoopProvider(TracingProvider):
    """Records nothing, at the lowest cost there is, and still passes an incoming trace context on unchanged."""

    name: ClassVar[str] = "noop"

    def __init__(self, propagator: Propagator | None = None) -> None:
        self.runtime = _Runtime()
        self._propagator = propagator or default_propagator(self.default_propagators)

    @classmethod
    def from_settings(cls, settings: TracingSettings, config: PipelineConfig, propagator: Propagator | None) -> Self:
        """Make one that speaks the configured formats."""
        return cls(propagator)

    def span(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        parent: Span | TraceContext | None = None,
        links: Sequence[Link | TraceContext] = (),
        start_time: Time | None = None,
        record_exception: bool = True,
    ) -> Span:
        """The span that does nothing or, with a parent given, one that stands for the parent."""
        if parent is None or parent is NOOP_SPAN or not isinstance(parent, (Span, TraceContext)):
            return NOOP_SPAN
        return NonRecordingSpan.of(parent.trace_context)

    def start_span(self, name: str, options: SpanOptions | None = None) -> Span:
        """As `span`, made current unless `options.activate` is False."""
        if options is None or options.parent is None:
            return NOOP_SPAN
        span = self.span(name, parent=options.parent)
        if options.activate:
            span._activate()
        return span

    def get_current_span(self) -> Span:
        """A span that does nothing, whatever was started."""
        current = self.runtime.get()
        return current if isinstance(current, Span) and not current._end else NOOP_SPAN

    def extract_context(self, carrier: Carrier) -> TraceContext | None:
        """The remote trace context that the carrier brings, or None."""
        try:
            return self._propagator.extract_from(carrier)
        except Exception:
            logger.debug("nothing could be extracted from %s", type(carrier).__name__, exc_info=True)
            return None

    def inject_context(self, trace_context: TraceContext, carrier: MutableMapping[str, str]) -> None:
        """Write the trace context, where there is one, to the carrier."""
        try:
            self._propagator.inject(trace_context, carrier)
        except Exception:
            logger.debug("%r could not be injected into %s", trace_context, type(carrier).__name__, exc_info=True)
