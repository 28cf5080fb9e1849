"""Tracing for the length of a test: captured, isolated, and as it was before afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kai_tracing_core.context import BAGGAGE, CURRENT, EMPTY_BAGGAGE
from kai_tracing_core.errors import ConfigurationError
from kai_tracing_core.hookspecs import hookimpl
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.provider import RecordingProvider, TracingProvider
from kai_tracing_core.service import TracingService, tracing
from kai_tracing_core.span import Span
from kai_tracing_core.testing.ids import FixedClock, FixedIds
from kai_tracing_core.trace_context import TraceContext
from kai_tracing_inmemory.assertions import SpanAssertions
from kai_tracing_inmemory.provider import InMemoryProvider
from kai_tracing_inmemory.store import SpanStore

__all__ = ["CapturedSpans", "capture_spans"]

_TICK = 0.001
_SHUTDOWN_TIMEOUT = 1.0
_PLUGIN = "kai-tracing-capture"


class CapturedSpans(SpanAssertions):
    """The spans of a block under `capture_spans`, or of a test with the fixture `tracing_spans`."""

    def __init__(self, provider: InMemoryProvider, clock: FixedClock | None = None) -> None:
        super().__init__(provider.store)
        self.store.keep_open = True
        self.clock = clock
        self._running: dict[Span, None] = {}
        self._watched: list[TracingProvider] = [provider]
        provider.pipeline.add_processor(_Watch(self._running, None))

    @property
    def running(self) -> list[Span]:
        """The spans that were started and have not ended, in the order of their starts."""
        return list(self._running)

    def watch(self, provider: TracingProvider) -> None:
        """Capture what `provider`, where it is a `RecordingProvider`, records from now on, too."""
        if isinstance(provider, RecordingProvider) and provider not in self._watched:
            self._watched.append(provider)
            provider.pipeline.add_processor(_Watch(self._running, self.store))

    def leave_context(self) -> None:
        """Have nothing current in this thread, wherever the providers that were captured keep it."""
        for provider in self._watched:
            provider.runtime.attach(None)
            provider.runtime.set_baggage(EMPTY_BAGGAGE)

    def report(self) -> str:
        """The trees for people, with durations, and what has not ended."""
        lines = str(self.tree()).splitlines() or ["no spans have ended"]
        return "\n".join(lines + [f"still running: {span.name}" for span in self.running])


@contextmanager
def capture_spans(
    service: TracingService = tracing, *, fixed: bool = False, **settings: Any
) -> Iterator[CapturedSpans]:
    """Capture the spans that `service` (the default one) makes, on whatever thread or task, for a block.

        with capture_spans() as spans:
            checkout(cart)
        spans.assert_span("checkout", attributes={"cart.items": 3})

    Whatever was configured is out of effect meanwhile and in effect again afterwards, with what was current. Without
    `settings` every span is recorded, whatever the environment says; with them, fields of `TracingSettings`, the
    service is configured as by `initialize_tracing(type="inmemory", **settings)`. Where the block itself initialises
    tracing, that takes effect, and what records spans then is captured as well.

    With `fixed` ids count up from 1, and the clock, `spans.clock`, starts at 1,700,000,000 seconds after the epoch
    and goes on by a millisecond each time it is read.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    plugin = _Fixed() if fixed else None
    if plugin is not None:
        # Only what has settings or hooks needs them; pluggy among them.
        from kai_tracing_core import plugins

        plugins.register_plugin(plugin, name=_PLUGIN)
    provider = _provider(plugin, settings)
    captured = CapturedSpans(provider, plugin.clock if plugin else None)
    inner = TracingService(provider)
    if not settings.get("enabled", True):
        inner.disable()

    replaced = False

    def set_provider(provider: TracingProvider, **options: Any) -> None:
        nonlocal replaced
        replaced = True
        captured.watch(provider)
        TracingService.set_provider(service, provider, **options)

    before = dict(vars(service))
    current, baggage = CURRENT.get(), BAGGAGE.get()
    CURRENT.set(None)
    BAGGAGE.set(EMPTY_BAGGAGE)
    # In place, since applications hold the service; at once, since other threads may use it meanwhile.
    vars(service).update(vars(inner), set_provider=set_provider)
    try:
        yield captured
    finally:
        captured.leave_context()
        TracingService.shutdown(service, _SHUTDOWN_TIMEOUT)
        provider.shutdown(_SHUTDOWN_TIMEOUT)
        vars(service).update(before)
        for name in vars(service).keys() - before.keys():
            del vars(service)[name]
        if replaced and service._provider is not None and service._enabled:
            service._provider.initialize()  # it may have had what there is once in a process, as the bridge is
        CURRENT.set(current)
        BAGGAGE.set(baggage)
        if plugin is not None:
            plugins.unregister_plugin(_PLUGIN)


def _provider(plugin: _Fixed | None, settings: dict[str, Any]) -> InMemoryProvider:
    if not settings:
        return InMemoryProvider(
            config=PipelineConfig() if plugin is None else PipelineConfig(ids=plugin.ids, clock=plugin.clock)
        )
    from kai_tracing_core.initializer import create
    from kai_tracing_core.settings import TracingSettings

    provider = create(TracingSettings(type="inmemory", **settings))
    if not isinstance(provider, InMemoryProvider):
        raise ConfigurationError(
            f"the provider 'inmemory' is {type(provider).__name__}, which keeps no spans to capture"
        )
    return provider


class _Fixed:
    """Has every provider that is made meanwhile use the same ids and the same clock."""

    def __init__(self) -> None:
        self.ids = FixedIds()
        self.clock = FixedClock(step=_TICK)

    @hookimpl
    def kai_tracing_configure(self, config: PipelineConfig) -> None:
        config.ids = self.ids
        config.clock = self.clock


class _Watch(SpanProcessor):
    """Knows what runs, and keeps what has ended in `store` where the provider does not."""

    def __init__(self, running: dict[Span, None], store: SpanStore | None) -> None:
        self._running = running
        self._store = store

    def on_start(self, span: Span, parent: TraceContext | None) -> None:
        self._running[span] = None

    def on_end(self, span: Span) -> None:
        self._running.pop(span, None)
        if self._store is not None:
            self._store.on_end(span)
