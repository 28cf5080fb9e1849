"""OpenTelemetry's TracerProvider and Tracer over this project's pipeline."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, ClassVar, TypeVar

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor as SdkProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.util.types import Attributes

from kai_tracing_core.context import RESTORED
from kai_tracing_core.failures import describe
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.provider import RecordingProvider
from kai_tracing_core.span import Link, Span, SpanKind, SpanStatusCode
from kai_tracing_core.trace_context import TraceContext
from kai_tracing_opentelemetry.runtime import (
    SPAN_KEY,
    OpenTelemetryContext,
    add_to,
    current_in,
    get_context,
    reset_context,
    set_context,
    to_trace_context,
    with_span,
)
from kai_tracing_opentelemetry.sdk import EXPLICIT_CONTEXT, SdkSpanProcessor, to_resource
from kai_tracing_opentelemetry.span import OpenTelemetryNonRecordingSpan, OpenTelemetrySpan

__all__ = ["Tracer", "TracerProvider"]

logger = logging.getLogger(__name__)

V = TypeVar("V")

_KINDS = tuple(SpanKind)
_API_INTERNAL = trace_api.SpanKind.INTERNAL
_INTERNAL = SpanKind.INTERNAL
_NO_PARENT = TraceContext()
_MILLISECONDS = 1000.0


def _parent_in(context: Context) -> Span | TraceContext:
    """The parent that an explicit context names: without a span in it a new trace starts."""
    span = context.get(SPAN_KEY)
    if isinstance(span, Span):
        return span.trace_context if span._end else span
    parent = current_in(context)
    return _NO_PARENT if parent is None else parent


def _to_links(links: Iterable[trace_api.Link]) -> list[Link]:
    return [Link(to_trace_context(link.context), link.attributes or {}) for link in links if link]


def _start_nothing(*_: Any, parent: Span | TraceContext | None = None, **__: Any) -> Span:
    """Where no provider is bound: a span that only passes the context on."""
    given = current_in(get_context()) if parent is None else parent
    return OpenTelemetryNonRecordingSpan.of(_NO_PARENT if given is None else given.trace_context)


class Tracer(trace_api.Tracer):
    """Makes spans for one instrumentation scope; see `opentelemetry.trace.Tracer`."""

    def __init__(self, scope: InstrumentationScope, start: Callable[..., Span]) -> None:
        self._scope = scope
        self._start = start

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: trace_api.SpanKind = trace_api.SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[trace_api.Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace_api.Span:
        """Start a span without making it current."""
        if context is None:
            span: Any = self._start(
                name,
                kind=_KINDS[kind._value_],
                attributes=attributes,
                links=_to_links(links) if links else None,
                start_time=start_time,
                record_exception=record_exception,
                scope=self._scope,
            )
        else:
            token = EXPLICIT_CONTEXT.set(context)
            try:
                span = self._start(
                    name,
                    kind=_KINDS[kind._value_],
                    attributes=attributes,
                    parent=_parent_in(context),
                    links=_to_links(links) if links else None,
                    start_time=start_time,
                    record_exception=record_exception,
                    scope=self._scope,
                )
            finally:
                EXPLICIT_CONTEXT.reset(token)
            if span._rare is not None:
                span._rare.carried = None  # the baggage is in the contexts, where OpenTelemetry looks for it
        span._previous = RESTORED
        if set_status_on_exception is not record_exception:
            span._status_on_exception = set_status_on_exception
        return span  # type: ignore[no-any-return]  # a span of the class in use

    def start_as_current_span(  # type: ignore[override]  # no generator, which would cost as much as the span
        self,
        name: str,
        context: Context | None = None,
        kind: trace_api.SpanKind = trace_api.SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[trace_api.Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> _Current:
        """A context manager, and a decorator, that starts a span and makes it current."""
        if context is None and not links and set_status_on_exception and record_exception and end_on_exit:
            current = _Current()
            # Up to Python 3.11 looking at an enumeration's member for its value takes 2 % of a span.
            own_kind = _INTERNAL if kind is _API_INTERNAL else _KINDS[kind._value_]
            current._arguments = (name, own_kind, attributes, None, None, start_time, True, self._scope)
        else:
            current = special = _CurrentWith()
            special._arguments = (name, context, kind, attributes, links, start_time, record_exception)
            special._record_exception = record_exception
            special._set_status = set_status_on_exception
            special._end_on_exit = end_on_exit
        current._tracer = self
        return current


class _Current:
    """What `start_as_current_span` gives: the span starts when the block, or the decorated function, is entered."""

    __slots__ = ("_arguments", "_span", "_token", "_tracer")

    # Filled in by `start_as_current_span`, without a constructor.
    _tracer: Tracer
    _arguments: tuple[Any, ...]  # of the pipeline's `start`, which the tracer may have got anew when it is called
    _span: Any
    _token: Any

    _record_exception = _set_status = _end_on_exit = True
    _options: ClassVar[tuple[str, ...]] = ("_arguments", "_tracer")

    def __enter__(self) -> Any:
        span = self._span = self._tracer._start(*self._arguments)
        before = get_context()
        if before and (len(before) != 1 or SPAN_KEY not in before):
            self._token = set_context(with_span(before, span))
        else:  # with_span in short
            after = Context()
            add_to(after, SPAN_KEY, span)
            self._token = set_context(after)
        return span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # All of the context as it was, as OpenTelemetry's own does: what was attached in the block and never
        # detached ends with it.
        try:
            reset_context(self._token)
        except ValueError:  # left in another task than it was entered in, whose context is its own
            pass
        if exception is not None:
            self._fail(exception)
        if self._end_on_exit:
            self._span._close()

    def _fail(self, exception: BaseException) -> None:
        span = self._span
        if not isinstance(exception, Exception) or not span.is_recording():
            return
        if self._record_exception:
            span.record_exception(exception)
        if self._set_status:
            span.set_status(SpanStatusCode.ERROR, f"{type(exception).__name__}: {describe(exception)}")

    def _again(self) -> _Current:
        other = type(self)()
        for name in self._options:
            setattr(other, name, getattr(self, name))
        return other

    def __call__(self, func: V) -> V:
        fn: Any = func
        if inspect.iscoroutinefunction(func):

            @functools.wraps(fn)
            async def call_async(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return await fn(*args, **kwargs)

            return call_async  # type: ignore[return-value]  # of func's type

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return fn(*args, **kwargs)

        return call  # type: ignore[return-value]  # of func's type


class _CurrentWith(_Current):
    """One with options that are rarely given; its arguments are those of `Tracer.start_span`."""

    __slots__ = _GIVEN = ("_end_on_exit", "_record_exception", "_set_status")

    _end_on_exit: bool
    _record_exception: bool
    _set_status: bool
    _options = (*_Current._options, *_GIVEN)

    def __enter__(self) -> Any:
        span = self._span = self._tracer.start_span(*self._arguments)
        self._token = set_context(with_span(get_context(), span))
        return span


class TracerProvider(trace_api.TracerProvider):
    """OpenTelemetry's API over a recording provider; see `opentelemetry.trace.TracerProvider`.

    Tracers outlive the provider they were made for: `use` hands all of them to another one, or (None) to none.
    """

    def __init__(self, provider: RecordingProvider | None = None) -> None:
        self._lock = threading.Lock()
        self._tracers: dict[InstrumentationScope, Tracer] = {}
        self._provider: RecordingProvider | None = None
        self._start: Callable[..., Span] = _start_nothing
        if provider is not None:
            self.use(provider)

    @property
    def provider(self) -> RecordingProvider | None:
        """Where the spans go."""
        return self._provider

    def use(self, provider: RecordingProvider | None) -> None:
        """Make spans of `provider` from now on, for tracers that exist already, too."""
        with self._lock:
            self._provider = provider
            if provider is None:
                self._start = _start_nothing
            else:
                provider.use(OpenTelemetryContext(), OpenTelemetrySpan, OpenTelemetryNonRecordingSpan)
                self._start = provider.pipeline.start
            for tracer in self._tracers.values():
                tracer._start = self._start

    @property
    def resource(self) -> Resource:
        """What the spans' process is."""
        return to_resource(self._provider.pipeline.resource) if self._provider is not None else Resource.get_empty()

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace_api.Tracer:
        """The tracer of an instrumentation scope; the same one for the same arguments."""
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return trace_api.NoOpTracer()
        if not instrumenting_module_name:
            logger.error("get_tracer was called without a module name")
        scope = InstrumentationScope(
            instrumenting_module_name or "", instrumenting_library_version or "", schema_url, attributes
        )
        with self._lock:
            tracer = self._tracers.get(scope)
            if tracer is None:
                tracer = self._tracers[scope] = Tracer(scope, self._start)
            return tracer

    def add_span_processor(self, span_processor: SdkProcessor | SpanProcessor) -> None:
        """Have a processor, OpenTelemetry's or this project's, see every span from now on, after those before it."""
        if self._provider is None:
            raise RuntimeError("no provider is installed that the processor could be added to")
        if isinstance(span_processor, SdkProcessor):
            span_processor = SdkSpanProcessor(span_processor)
        self._provider.pipeline.add_processor(span_processor)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Deliver what has ended, within the time. Returns whether all of it was dealt with."""
        return self._provider is None or self._provider.flush(timeout_millis / _MILLISECONDS)

    def shutdown(self) -> None:
        """Flush and release everything. Later spans are dropped."""
        if self._provider is not None:
            self._provider.shutdown()
