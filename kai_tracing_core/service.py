"""The tracing service: the one object an application talks to.

Once a provider is configured the service hands out that provider's own methods where a span is started, so that the
facade costs nothing there.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, overload

from kai_tracing_core import context as _context
from kai_tracing_core.attributes import Attributes
from kai_tracing_core.lazy import lazy_logger
from kai_tracing_core.noop import NoopProvider
from kai_tracing_core.processing.processor import Stats
from kai_tracing_core.propagation.baggage import BaggageHosts
from kai_tracing_core.propagation.base import Carrier
from kai_tracing_core.provider import TracingProvider
from kai_tracing_core.running import trace_function
from kai_tracing_core.span import Link, Span, SpanKind, SpanOptions, SpanResult, SpanStatusCode, Time
from kai_tracing_core.span_parts import as_text
from kai_tracing_core.trace_context import TraceContext

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from kai_tracing_core.telemetry.contract import TelemetryService

__all__ = ["TracingService", "tracing"]

logger = lazy_logger(__name__)

R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

_EXIT_TIMEOUT = 5.0


class TracingService:
    """A unified interface for tracing operations, whichever provider is behind it.

    Without a call it initialises itself from the environment when it is first used (`auto=False` turns that off:
    then it records nothing until `set_provider`). It can be disabled, enabled and given another provider at any
    time; no finished span is lost by that.
    """

    def __init__(self, provider: TracingProvider | None = None, *, auto: bool = True) -> None:
        self._lock = threading.RLock()
        self._provider: TracingProvider | None = None
        self._disabled = NoopProvider()
        self._enabled = False
        self._auto = auto and provider is None
        self._initializing = False
        self.baggage_hosts = BaggageHosts()
        if provider is not None:
            self.set_provider(provider)

    # -- which provider ----------------------------------------------------------------------------------------------

    @property
    def provider(self) -> TracingProvider:
        """The provider that is in effect: the configured one, or one that does nothing while tracing is disabled."""
        if self._auto:
            self._initialize()
        provider = self._provider
        return provider if self._enabled and provider is not None else self._disabled

    @property
    def telemetry(self) -> Sequence[TelemetryService]:
        """The telemetry services of `TRACING_TELEMETRY`, which are told of every span that ends."""
        return self.provider.telemetry

    @property
    def enabled(self) -> bool:
        """Whether spans are recorded."""
        if self._auto:
            self._initialize()
        return self._enabled

    def set_provider(self, provider: TracingProvider, *, enable: bool = True, timeout: float = _EXIT_TIMEOUT) -> None:
        """Use `provider` from now on. The one before it is flushed and shut down, within `timeout` seconds.

        Spans that are still running then go to the new one when they end, if that records spans.
        """
        with self._lock:
            previous, self._provider, self._auto = self._provider, provider, False
            if enable:
                self.enable()
            else:
                self.disable()
        if previous is not None and previous is not provider:
            previous.hand_over(provider)
            previous.shutdown(timeout)

    def enable(self) -> None:
        """Record spans from now on; raises what the provider's `initialize` raises."""
        if self._auto:
            self._initialize()
        with self._lock:
            if self._provider is None:
                return
            self._provider.initialize()
            self._enabled = True
            self._bind(self._provider)

    def disable(self) -> None:
        """Record nothing from now on, until `enable`. What has ended is delivered; what runs is recorded to its end."""
        with self._lock:
            self._auto = False
            self._enabled = False
            self._bind(self._disabled)
            provider = self._provider
        if provider is not None:
            provider.flush(_EXIT_TIMEOUT)

    def _bind(self, provider: TracingProvider) -> None:
        # In the instance's dictionary these hide the class's methods of the same names, which only stand for them.
        vars(self)["span"] = provider.span
        vars(self)["extract_context"] = provider.extract_context
        vars(self)["inject_context"] = provider.inject_context

    def _initialize(self) -> None:
        # Threads that come meanwhile wait for it, so that none of their spans is lost, but not for ever.
        if not self._lock.acquire(timeout=_EXIT_TIMEOUT):
            return
        try:
            if not self._auto or self._initializing:
                return
            self._initializing = True
            from kai_tracing_core.initializer import configure

            try:
                configure(self)
            finally:
                # Loud once, at the start; from then on tracing must not get into the application's way.
                self._auto = self._initializing = False
        finally:
            self._lock.release()

    # -- spans -------------------------------------------------------------------------------------------------------

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
        """A span for a `with` or `async with` block.

            with tracing.span("checkout", attributes={"cart.items": 3}) as span:
                span.set_attribute("order.id", place_order())

        The block is current for whatever starts inside it; an exception that leaves the block is recorded and sets
        the status, unless `record_exception` is False. `parent` None means the current span.
        """
        return self.provider.span(
            name,
            kind=kind,
            attributes=attributes,
            parent=parent,
            links=links,
            start_time=start_time,
            record_exception=record_exception,
        )

    def start_span(
        self,
        name: str,
        options: SpanOptions | None = None,
        /,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        parent: Span | TraceContext | None = None,
        links: Sequence[Link | TraceContext] = (),
        start_time: Time | None = None,
        activate: bool = True,
    ) -> SpanResult:
        """Start a span and make it current until `end_span`; `activate=False` is for detached ones.

        Either `options` or keywords. The result has the `span` and its `trace_context`.
        """
        if not isinstance(options, SpanOptions):
            options = SpanOptions(kind, attributes, parent, links, start_time, activate)
        return SpanResult(self.provider.start_span(name, options))

    def end_span(self, span: Span | None, end_time: Time | None = None) -> None:
        """End the span, now or at `end_time`, and put back what was current before it."""
        if span is not None:
            self.provider.end_span(span, end_time)

    def set_span_status(self, span: Span | None, code: SpanStatusCode, message: str | None = None) -> None:
        """Say how the span's operation ended; the message goes with ERROR only."""
        if span is not None:
            self.provider.set_span_status(span, code, message)

    def add_span_attributes(self, span: Span | None, attributes: Attributes) -> None:
        """Set attributes of the span."""
        if span is not None:
            self.provider.add_span_attributes(span, attributes)

    def add_span_event(
        self, span: Span | None, name: str, attributes: Attributes | None = None, timestamp: Time | None = None
    ) -> None:
        """Record that something happened during the span, now or at `timestamp`."""
        if span is not None:
            self.provider.add_span_event(span, name, attributes, timestamp)

    def get_current_span(self) -> Span | None:
        """The span that is current in this thread or task, or None; one that does nothing while disabled."""
        return self.provider.get_current_span()

    @overload
    def with_span(
        self, name: str, fn: Callable[[], Awaitable[R]], options: SpanOptions | None = None, /, **keywords: Any
    ) -> Awaitable[R]: ...
    @overload
    def with_span(
        self, name: str, fn: Callable[[], R], options: SpanOptions | None = None, /, **keywords: Any
    ) -> R: ...
    def with_span(
        self, name: str, fn: Callable[[], Any], options: SpanOptions | None = None, /, **keywords: Any
    ) -> Any:
        """Call `fn` under a span of this name and end the span when it is done.

        Gives what `fn` gives; for a coroutine function, an awaitable of it. The keywords are those of `start_span`.
        """
        options = options._replace(activate=False) if options is not None else SpanOptions(**keywords, activate=False)
        provider = self.provider
        return provider.with_span(provider.start_span(name, options), fn)

    @overload
    def traced(self, fn: F, /) -> F: ...
    @overload
    def traced(
        self,
        name: str | None = None,
        /,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        record_exception: bool = True,
    ) -> Callable[[F], F]: ...
    def traced(
        self,
        name_or_fn: Any = None,
        /,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        record_exception: bool = True,
    ) -> Any:
        """Run every call of a function, coroutine, generator or async generator under a span of its own.

        `@tracing.traced` names the span after the function (`Cart.add`), `@tracing.traced("name", …)` as told. A
        generator's span is current only while its body runs.
        """
        if callable(name_or_fn) or isinstance(name_or_fn, classmethod):
            return self.traced()(name_or_fn)

        def decorate(fn: Any) -> Any:
            if isinstance(fn, (staticmethod, classmethod)):
                return type(fn)(decorate(fn.__func__))
            start = functools.partial(
                self._start_traced,
                name_or_fn or getattr(fn, "__qualname__", repr(fn)).replace("<locals>.", ""),
                kind=kind,
                attributes=attributes,
                record_exception=record_exception,
            )
            return trace_function(fn, start, lambda: self.provider.runtime)

        return decorate

    def _start_traced(self, name: str, **options: Any) -> Span:
        return self.span(name, **options)

    # -- context -----------------------------------------------------------------------------------------------------

    def extract_context(self, carrier: Carrier) -> TraceContext | None:
        """The remote trace context that request headers bring, or None; to be given as `parent`.

        The carrier is a mapping, a multi-dict, or a list of pairs; names in any case. Malformed headers count as
        absent.
        """
        return self.provider.extract_context(carrier)

    def link_from(self, carrier: Carrier, attributes: Attributes | None = None) -> Link | None:
        """A link to the span whose context the headers of a message bring, or None where they bring none.

        For consumers whose work has a trace of its own, or takes several messages at once:
        `tracing.span("settle", links=[link for m in batch if (link := tracing.link_from(m.headers))])`.
        """
        context = self.extract_context(carrier)
        return Link(context, attributes or {}) if context is not None and context.is_valid else None

    def inject_context(self, trace_context: TraceContext, carrier: MutableMapping[str, str]) -> None:
        """Write the trace context to request headers."""
        self.provider.inject_context(trace_context, carrier)

    def inject_for_host(self, trace_context: TraceContext, carrier: MutableMapping[str, str], host: str | None) -> None:
        """As `inject_context`, without the baggage where `TRACING_BAGGAGE_ALLOWED_HOSTS` denies it to `host`."""
        self.provider.inject_context(self.baggage_hosts.limit(trace_context, host), carrier)

    def subprocess_env(
        self, trace_context: TraceContext | None = None, base: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The environment for a subprocess whose spans are to join this trace: `subprocess.run(…, env=…)`.

        It is `base` (None: `os.environ`) with `TRACEPARENT` and what else the configured formats write; the context
        is that of the current span unless one is given. The subprocess reads it by `extract_context(os.environ)`.
        """
        from kai_tracing_core.propagation.environment import subprocess_env

        provider = self.provider
        if trace_context is None:
            span = provider.get_current_span()
            baggage = provider.runtime.get_baggage()
            trace_context = TraceContext(baggage=baggage) if span is None else span.trace_context
        return subprocess_env(trace_context, base, inject=provider.inject_context)

    @contextmanager
    def use_context(self, trace_context: Span | TraceContext | None) -> Iterator[None]:
        """Make a context, and the baggage it brings, current for a block: what starts inside becomes its child."""
        runtime = self.provider.runtime
        previous = runtime.attach(trace_context if isinstance(trace_context, (Span, TraceContext)) else None)
        try:
            yield
        finally:
            runtime.detach(previous)

    def wrap(self, fn: F) -> F:
        """`fn`, to be called on another thread under the span that is current now."""
        return _context.wrap(fn)

    def executor(self, max_workers: int | None = None, **options: Any) -> ThreadPoolExecutor:
        """A thread pool whose tasks run under the span that was current when they were submitted."""
        from kai_tracing_core.executor import TracedThreadPoolExecutor

        return TracedThreadPoolExecutor(max_workers, **options)

    def get_baggage(self) -> Mapping[str, str]:
        """The baggage that is current and goes out with every injected context."""
        return self.provider.runtime.get_baggage()

    def set_baggage(self, key: str, value: str) -> None:
        """Add an entry to the current baggage, or replace it."""
        runtime = self.provider.runtime
        runtime.set_baggage({**runtime.get_baggage(), as_text(key): as_text(value)})

    def remove_baggage(self, key: str) -> None:
        """Take an entry out of the current baggage."""
        runtime = self.provider.runtime
        runtime.set_baggage({name: value for name, value in runtime.get_baggage().items() if name != key})

    # -- delivery ----------------------------------------------------------------------------------------------------

    def flush(self, timeout: float = 30.0) -> bool:
        """Deliver what has ended, within `timeout` seconds. Returns whether all of it was dealt with."""
        return self._provider.flush(timeout) if self._provider is not None else True

    def shutdown(self, timeout: float = _EXIT_TIMEOUT) -> bool:
        """Flush within `timeout` seconds and stop tracing for good; happens by itself when the process ends."""
        with self._lock:
            provider, self._provider = self._provider, None
            self._auto = self._enabled = False
            self._bind(self._disabled)
        return provider.shutdown(timeout) if provider is not None else True

    def stats(self) -> Stats:
        """Where the spans are: started, queued, exported, dropped by reason."""
        return self._provider.stats() if self._provider is not None else Stats()


tracing = TracingService()
"""The default instance, ready without a call."""
