"""Joining a TracerProvider that the application has set up itself: its spans, behind this project's API."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from time import time_ns
from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry import trace as trace_api

from kai_tracing_core.attributes import Attributes, AttributeValue
from kai_tracing_core.context import INACTIVE, RESTORED
from kai_tracing_core.non_recording import NonRecordingSpan
from kai_tracing_core.propagation.base import Carrier, Propagator
from kai_tracing_core.propagation.composite import default_propagator
from kai_tracing_core.provider import TracingProvider
from kai_tracing_core.span import (
    Event,
    Link,
    Span,
    SpanKind,
    SpanOptions,
    SpanStatusCode,
    Time,
    to_nanoseconds,
)
from kai_tracing_core.trace_context import PARENT_REMOTE, Shared, TraceContext
from kai_tracing_opentelemetry.runtime import (
    SPAN_KEY,
    OpenTelemetryContext,
    as_api,
    current_in,
    get_context,
    place,
    put_back,
    set_context,
    to_span_context,
    to_trace_context,
)

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["JoinedProvider", "JoinedSpan"]

_KINDS = tuple(trace_api.SpanKind)
_CODES = tuple(trace_api.StatusCode)
_JOINED = "_kai_tracing_joined"
_RUNTIME = OpenTelemetryContext()


class _ItsProvider:
    """Where a joined span goes when it ends: to the provider that made it."""

    clock = staticmethod(time_ns)
    on_ending = None
    inbox = queue = None

    @staticmethod
    def on_end(span: Any) -> None:
        """End the span that is wrapped."""
        span.wrapped.end(span._end)


_ITS_PROVIDER = _ItsProvider()


class JoinedSpan(Span):
    """A span of another TracerProvider's, with this project's methods; `wrapped` is what is current for it."""

    __slots__ = ("wrapped",)

    wrapped: trace_api.Span

    @classmethod
    def of(cls, wrapped: trace_api.Span, *, record_exception: bool = True) -> JoinedSpan:
        """The one that stands for `wrapped`."""
        known: JoinedSpan | None = getattr(wrapped, _JOINED, None)
        if known is not None:
            return known
        identity = to_trace_context(wrapped.get_span_context())
        parent: Any = getattr(wrapped, "parent", None)
        span = cls.__new__(cls)
        span.wrapped = wrapped
        span.name = getattr(wrapped, "name", "")
        kind = getattr(wrapped, "kind", trace_api.SpanKind.INTERNAL)
        span._kind = SpanKind(kind.value)
        span._trace_id, span._span_id = identity._trace_id, identity._span_id
        flags = identity._flags | (PARENT_REMOTE if parent and parent.is_remote else 0)
        span._shared = Shared(flags, identity._trace_state, sink=_ITS_PROVIDER)
        span._parent_id = parent.span_id if parent else 0
        span._start = getattr(wrapped, "start_time", None) or 0
        span._end = False
        span._rare = None
        span._previous = INACTIVE
        span._room = 0
        if not record_exception:
            span._get_rare().silent = True
        setattr(wrapped, _JOINED, span)
        return span

    def is_recording(self) -> bool:
        """Whether the span still takes attributes and events."""
        return self.wrapped.is_recording()

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set one attribute."""
        self.wrapped.set_attribute(key, value)

    def set_attributes(self, attributes: Attributes) -> None:
        """Set several attributes."""
        self.wrapped.set_attributes(dict(attributes))

    def add_event(self, name: str, attributes: Attributes | None = None, timestamp: Time | None = None) -> None:
        """Record that something happened, now or at `timestamp`."""
        at = None if timestamp is None else to_nanoseconds(timestamp)
        self.wrapped.add_event(name, dict(attributes or {}), at)

    def add_link(self, context: Span | TraceContext | Link, attributes: Attributes | None = None) -> None:
        """Relate this span to another one that is not its parent."""
        target = context.context if isinstance(context, Link) else context.trace_context
        given = context.attributes if isinstance(context, Link) and not attributes else attributes
        self.wrapped.add_link(to_span_context(target), dict(given or {}))

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes | None = None,
        timestamp: Time | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an `exception` event with type, message and stack trace."""
        at = None if timestamp is None else to_nanoseconds(timestamp)
        # OpenTelemetry's API declares Exception; its SDK takes any.
        self.wrapped.record_exception(exception, dict(attributes or {}), at, escaped)  # type: ignore[arg-type,unused-ignore]  # as said

    def set_status(self, code: SpanStatusCode, message: str | None = None) -> None:
        """Say how the operation ended."""
        message = message if code == SpanStatusCode.ERROR else None
        self.wrapped.set_status(trace_api.Status(_CODES[code], message))

    def update_name(self, name: str) -> None:
        """Give the span another name."""
        self.name = name
        self.wrapped.update_name(name)

    def __enter__(self) -> Self:
        if self._previous is INACTIVE:
            self._activate()
        return self

    def _activate(self) -> None:
        self._previous = place(self.wrapped, self._carried)

    def _deactivate(self) -> None:
        (before, after), self._previous = self._previous, RESTORED
        current = get_context()
        if current.get(SPAN_KEY) is not self.wrapped:
            return
        if current is after:
            set_context(before)
        else:
            put_back(current, before.get(SPAN_KEY), before, self._carried is not None)

    _read_baggage = staticmethod(_RUNTIME.get_baggage)

    @property
    def attributes(self) -> Mapping[str, AttributeValue]:
        """The attributes that the wrapped span has, where it can be read."""
        return dict(getattr(self.wrapped, "attributes", None) or {})

    @property
    def events(self) -> Sequence[Event]:
        """The events that the wrapped span has, where it can be read."""
        return [
            Event(event.name, event.timestamp, event.attributes or {}) for event in getattr(self.wrapped, "events", ())
        ]

    @property
    def links(self) -> Sequence[Link]:
        """The links that the wrapped span has, where it can be read."""
        return [
            Link(to_trace_context(link.context), link.attributes or {}) for link in getattr(self.wrapped, "links", ())
        ]

    @property
    def status(self) -> SpanStatusCode:
        """How the operation ended."""
        status = getattr(self.wrapped, "status", None)
        return SpanStatusCode(status.status_code.value) if status is not None else SpanStatusCode.UNSET

    @property
    def status_message(self) -> str | None:
        """The message of an ERROR status."""
        return getattr(getattr(self.wrapped, "status", None), "description", None)

    @property
    def resource(self) -> Mapping[str, AttributeValue]:
        """What the wrapped span's process is, where it can be read."""
        resource = getattr(self.wrapped, "resource", None)
        return resource.attributes if resource is not None else {}

    @property
    def dropped_attributes(self) -> int:
        """How many attributes the other provider dropped."""
        return getattr(self.wrapped, "dropped_attributes", 0)

    @property
    def dropped_events(self) -> int:
        """How many events the other provider dropped."""
        return getattr(self.wrapped, "dropped_events", 0)

    @property
    def dropped_links(self) -> int:
        """How many links the other provider dropped."""
        return getattr(self.wrapped, "dropped_links", 0)


def _as_api(value: Span | TraceContext | None) -> trace_api.Span | None:
    return value.wrapped if isinstance(value, JoinedSpan) else as_api(value)


class _JoinedContext(OpenTelemetryContext):
    def get(self) -> Span | TraceContext | None:
        """The current span, of whichever API, or the remote context that is current, or None."""
        found = get_context().get(SPAN_KEY)
        if isinstance(found, trace_api.Span) and found.is_recording():
            return JoinedSpan.of(found)
        return current_in(get_context())

    def attach(self, value: Span | TraceContext | None) -> Any:
        """Make `value` current. Returns what `detach` wants back."""
        if isinstance(value, JoinedSpan):
            return *place(value.wrapped), False
        return super().attach(value)


_JOINED_RUNTIME = _JoinedContext()


class JoinedProvider(TracingProvider):
    """Makes spans with a TracerProvider that was there first; sampling, limits and export are that one's."""

    name: ClassVar[str] = "opentelemetry"

    def __init__(self, existing: trace_api.TracerProvider, *, propagator: Propagator | None = None) -> None:
        self.existing = existing
        self.propagator = propagator or default_propagator(self.default_propagators)
        self.runtime = _JOINED_RUNTIME
        self._tracer = existing.get_tracer("kai_tracing_core")

    def start_span(self, name: str, options: SpanOptions | None = None) -> Span:
        """Start a span, current unless `options.activate` is False."""
        options = options or SpanOptions()
        parent = options.parent
        context = None
        carried: Mapping[str, str] | None = None
        if parent is not None:
            carried = parent._carried if isinstance(parent, Span) else parent.baggage
            context = trace_api.set_span_in_context(_as_api(parent) or trace_api.INVALID_SPAN, get_context())
        links = [
            trace_api.Link(to_span_context(link.context), dict(link.attributes))
            if isinstance(link, Link)
            else trace_api.Link(to_span_context(link.trace_context))
            for link in options.links
        ]
        wrapped = self._tracer.start_span(
            name,
            context,
            _KINDS[options.kind],
            dict(options.attributes or {}),
            links,
            None if options.start_time is None else to_nanoseconds(options.start_time),
            options.record_exception,
            options.record_exception,
        )
        span = JoinedSpan.of(wrapped, record_exception=options.record_exception)
        span.name = name
        if carried is not None:
            span._get_rare().carried = carried
        if options.activate:
            span._activate()
        return span

    def get_current_span(self) -> Span | None:
        """The span that is current in this thread or task, whichever API started it; never one that has ended."""
        current = self.runtime.get()
        if current is None or isinstance(current, Span):
            return current
        return NonRecordingSpan.of(current.trace_context)

    def extract_context(self, carrier: Carrier) -> TraceContext | None:
        """The remote trace context that the carrier brings, or None."""
        return self.propagator.extract_from(carrier)

    def inject_context(self, trace_context: TraceContext, carrier: MutableMapping[str, str]) -> None:
        """Write the trace context to the carrier."""
        self.propagator.inject(trace_context, carrier)

    def flush(self, timeout: float = 30.0) -> bool:
        """Have the other provider deliver what has ended, within `timeout` seconds."""
        flush = getattr(self.existing, "force_flush", None)
        return flush is None or flush(int(timeout * 1000)) is not False

    def shutdown(self, timeout: float = 5.0) -> bool:
        """Flush; whoever set the other provider up shuts it down."""
        return self.flush(timeout)
