"""OpenTelemetry's SDK objects in this project's pipeline: processors, exporters, samplers, resources and limits."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event as SdkEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import SpanLimits as SdkLimits
from opentelemetry.sdk.trace import SpanProcessor as SdkProcessor
from opentelemetry.sdk.trace.export import SpanExporter as SdkExporter
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.trace.sampling import Sampler as SdkSampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from kai_tracing_core.attributes import SpanLimits, clean_attributes
from kai_tracing_core.processing.otlp_encoding import own_scope
from kai_tracing_core.processing.processor import Rejected, SpanExporter, SpanProcessor
from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult
from kai_tracing_core.span import Link, Scope, Span
from kai_tracing_core.trace_context import TraceContext
from kai_tracing_opentelemetry.runtime import as_api, get_context, to_span_context
from kai_tracing_opentelemetry.span import OpenTelemetrySpan

__all__ = [
    "EXPLICIT_CONTEXT",
    "LiveSpan",
    "ResourceAttributes",
    "SdkSpanExporter",
    "SdkSpanProcessor",
    "SdkSpanSampler",
    "readable",
    "to_limits",
    "to_resource",
]

_KINDS = tuple(trace_api.SpanKind)
_CODES = tuple(trace_api.StatusCode)
_MILLISECONDS = 1000
_UNLIMITED = 1 << 31


class ResourceAttributes(dict[str, Any]):
    """The attributes of an SDK resource, and the schema they follow."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes)
        self.schema_url = resource.schema_url
        self.resource = resource


_resources: dict[int, tuple[Mapping[str, Any], Resource]] = {}


def to_resource(attributes: Mapping[str, Any]) -> Resource:
    """The SDK's form of a pipeline's resource."""
    if isinstance(attributes, ResourceAttributes):
        return attributes.resource
    known = _resources.get(id(attributes))
    if known is None or known[0] is not attributes:
        # The mapping is kept beside it, so that its identity cannot become another one's.
        known = _resources[id(attributes)] = attributes, Resource(dict(attributes))
    return known[1]


def to_limits(limits: SdkLimits) -> SpanLimits:
    """The SDK's limits as this project has them; the shortest value length holds for all attributes."""
    lengths = [length for length in (limits.max_span_attribute_length, limits.max_attribute_length) if length]

    def count(value: int | None) -> int:
        return _UNLIMITED if value is None else value

    return SpanLimits(
        attributes=count(limits.max_span_attributes),
        events=count(limits.max_events),
        links=count(limits.max_links),
        event_attributes=count(limits.max_event_attributes),
        link_attributes=count(limits.max_link_attributes),
        value_length=min(lengths, default=None),
    )


# -- spans as the SDK has them -----------------------------------------------------------------------------------------


class _Event(SdkEvent):
    def __init__(self, name: str, attributes: Mapping[str, Any], timestamp: int, dropped: int) -> None:
        super().__init__(name, attributes, timestamp)
        self._dropped = dropped

    @property
    def dropped_attributes(self) -> int:
        return self._dropped


class _Link(trace_api.Link):
    def __init__(self, context: trace_api.SpanContext, attributes: Mapping[str, Any], dropped: int) -> None:
        super().__init__(context, attributes)
        self._dropped = dropped

    @property
    def dropped_attributes(self) -> int:
        return self._dropped


class _Readable(ReadableSpan):
    """A snapshot, with the counts of what was dropped."""

    _dropped: tuple[int, int, int]

    @property
    def dropped_attributes(self) -> int:
        return self._dropped[0]

    @property
    def dropped_events(self) -> int:
        return self._dropped[1]

    @property
    def dropped_links(self) -> int:
        return self._dropped[2]


def _cleaned(attributes: Mapping[str, Any], limit: int, length: int | None) -> tuple[dict[str, Any], int]:
    cleaned, dropped = clean_attributes(attributes, limit, length)
    for key, value in cleaned.items():
        if type(value) is list:
            cleaned[key] = tuple(value)  # the SDK's sequences are immutable
    return cleaned, dropped


def _scope(span: Span) -> InstrumentationScope:
    scope = span._scope
    if isinstance(scope, InstrumentationScope):
        return scope
    return _own_scope() if scope is None else _copy_scope(scope)


@functools.cache
def _own_scope() -> InstrumentationScope:
    return _copy_scope(own_scope())


def _copy_scope(scope: Scope) -> InstrumentationScope:
    return InstrumentationScope(scope.name, scope.version, scope.schema_url, scope.attributes)


def readable(span: Span) -> ReadableSpan:
    """The span as it is now, for exporters and processors of the SDK."""
    assert isinstance(span, OpenTelemetrySpan)  # noqa: S101 - the provider makes no others
    limits = span._sink.limits
    length = limits.value_length
    attributes, dropped = _cleaned(span._attributes, limits.attributes, length)
    events = [
        _Event(name, cleaned, at, lost)
        for name, at, raw in span._events
        for cleaned, lost in (_cleaned(raw, limits.event_attributes, length),)
    ]
    links = [
        _Link(to_span_context(link.context), cleaned, lost)
        for link in span._links
        for cleaned, lost in (_cleaned(link.attributes, limits.link_attributes, length),)
    ]
    copy = _Readable(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=to_resource(span._sink.resource),
        attributes=attributes,
        events=events,
        links=links,
        kind=_KINDS[span._kind],
        status=trace_api.Status(_CODES[span._status], span.status_message),
        start_time=span._start,
        end_time=span._end or None,
        instrumentation_scope=_scope(span),
    )
    counts = span._dropped
    copy._dropped = (counts[0] + dropped, counts[1], counts[2])
    return copy


class LiveSpan(ReadableSpan, trace_api.Span):
    """A running span as the SDK's processors expect it: OpenTelemetry's API to write, ReadableSpan's to read."""

    def __init__(self, span: OpenTelemetrySpan) -> None:
        self._live = span

    def __getattr__(self, name: str) -> Any:
        # The private fields that ReadableSpan's properties read are not here, but in a snapshot of this moment.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(readable(self._live), name)

    def get_span_context(self) -> trace_api.SpanContext:
        """The identity of the span."""
        return self._live.get_span_context()

    def is_recording(self) -> bool:
        """Whether the span still takes attributes and events."""
        return self._live.is_recording()

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute."""
        self._live.set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several attributes."""
        self._live.set_attributes(attributes)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        """Record that something happened."""
        self._live.add_event(name, attributes, timestamp)

    def add_link(self, context: trace_api.SpanContext, attributes: Any = None) -> None:
        """Relate the span to another one."""
        self._live.add_link(context, attributes)

    def update_name(self, name: str) -> None:
        """Give the span another name."""
        self._live.update_name(name)

    def set_status(self, status: trace_api.Status | trace_api.StatusCode, description: str | None = None) -> None:
        """Say how the operation ended."""
        self._live.set_status(status, description)

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        """Add an event that describes the exception."""
        self._live.record_exception(exception, attributes, timestamp, escaped)

    def end(self, end_time: int | None = None) -> None:
        """End the span."""
        self._live.end(end_time)


# -- the SDK's objects in the pipeline ---------------------------------------------------------------------------------

EXPLICIT_CONTEXT: ContextVar[Context | None] = ContextVar("kai_tracing_explicit_context", default=None)
"""The context that was given to `start_span`, for the SDK's processors and samplers, which are told of it."""


class SdkSpanProcessor(SpanProcessor):
    """A processor of the SDK as one of this project."""

    def __init__(self, processor: SdkProcessor) -> None:
        self.processor = processor

    def on_start(self, span: Span, parent: TraceContext | None) -> None:
        """Pass it on."""
        if isinstance(span, OpenTelemetrySpan):
            live: Any = LiveSpan(span)
            self.processor.on_start(live, parent_context=EXPLICIT_CONTEXT.get())

    def on_ending(self, span: Span) -> None:
        """Pass it on."""
        if isinstance(span, OpenTelemetrySpan):
            live: Any = LiveSpan(span)
            self.processor._on_ending(live)

    def on_end(self, span: Span) -> None:
        """Pass it on."""
        self.processor.on_end(readable(span))

    def flush(self, timeout: float) -> bool:
        """Flush it."""
        return self.processor.force_flush(int(timeout * _MILLISECONDS)) is not False

    def shutdown(self, timeout: float) -> bool:
        """Shut it down; it takes the time that it takes."""
        self.processor.shutdown()
        return True


class SdkSpanExporter(SpanExporter):
    """An exporter of the SDK as one of this project. Retrying is its own business: what it fails on is lost."""

    def __init__(self, exporter: SdkExporter) -> None:
        self.exporter = exporter

    def export(self, spans: Sequence[Span], timeout: float) -> int:
        """Hand the spans over."""
        result = self.exporter.export([readable(span) for span in spans])
        if result is not SpanExportResult.SUCCESS:
            raise Rejected(f"{type(self.exporter).__name__} could not export {len(spans)} spans", reason="failed")
        return 0

    def shutdown(self) -> None:
        """Shut it down."""
        self.exporter.shutdown()


_DECISIONS = {
    Decision.DROP: SamplingDecision.DROP,
    Decision.RECORD_ONLY: SamplingDecision.RECORD_ONLY,
    Decision.RECORD_AND_SAMPLE: SamplingDecision.RECORD_AND_SAMPLE,
}


class SdkSpanSampler(Sampler):
    """A sampler of the SDK as one of this project."""

    def __init__(self, sampler: SdkSampler) -> None:
        self.sampler = sampler

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """Ask it."""
        links = [
            trace_api.Link(to_span_context(link.context), dict(link.attributes))
            if isinstance(link, Link)
            else trace_api.Link(to_span_context(link.trace_context))
            for link in request.links
        ]
        parent = as_api(request.parent) or trace_api.INVALID_SPAN
        context = trace_api.set_span_in_context(parent, EXPLICIT_CONTEXT.get() or get_context())
        result = self.sampler.should_sample(
            context, request.trace_id, request.name, _KINDS[request.kind], request.attributes, links
        )
        state = result.trace_state
        return SamplingResult(
            _DECISIONS[result.decision], dict(result.attributes or {}), state.to_header() if state else None
        )

    @property
    def description(self) -> str:
        """What the sampler says of itself."""
        return self.sampler.get_description()
