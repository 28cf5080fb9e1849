"""The part of the contract that is about flushing, shutting down and counting."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from kai_tracing_core.processing.processor import Stats
from kai_tracing_core.provider import TracingProvider
from kai_tracing_core.service import TracingService
from kai_tracing_core.span import SpanOptions
from kai_tracing_core.testing._base import Contract
from kai_tracing_core.testing.suite import needs

__all__ = ["DeliveryContract"]

# A time-out of 0.2 s that is kept even on a loaded machine; one that is ignored takes far longer.
_SHORT, _BOUND = 0.2, 10.0


def _balanced(stats: Stats) -> bool:
    return stats.ended == stats.queued + stats.exported + stats.spooled + sum(stats.dropped.values())


class DeliveryContract(Contract, contract=True):
    """Flush, shutdown, and that every span is accounted for, whether anybody listens or not."""

    def test_the_provider_has_a_name(self, provider: TracingProvider) -> None:
        """The name is what `TRACING_TYPE` says."""
        assert provider.name
        assert provider.name == provider.name.lower()

    def test_initialize_may_be_called_again(self, provider: TracingProvider) -> None:
        """The service initialises a provider each time it is enabled."""
        provider.initialize()
        provider.initialize()

    @needs("records")
    def test_every_span_is_accounted_for(self, provider: TracingProvider) -> None:
        """What ended is queued, exported, spooled or dropped for a named reason, at any time."""
        for number in range(20):
            provider.start_span(str(number)).end()
        provider.start_span("runs on", SpanOptions(activate=False))
        stats = provider.stats()
        assert (stats.started, stats.ended) == (21, 20)
        assert _balanced(stats)
        provider.shutdown(_SHORT)
        stats = provider.stats()
        assert stats.ended == 20
        assert _balanced(stats)

    def test_flush_keeps_its_time(self, provider: TracingProvider) -> None:
        """`flush` says whether all was dealt with, and says it in time even where nobody listens."""
        for number in range(20):
            provider.start_span(str(number)).end()
        started = monotonic()
        assert provider.flush(_SHORT) in (True, False)
        assert monotonic() - started < _BOUND

    def test_shutdown_keeps_its_time(self, provider: TracingProvider) -> None:
        """So does `shutdown`, which may be called again."""
        for number in range(20):
            provider.start_span(str(number)).end()
        started = monotonic()
        assert provider.shutdown(_SHORT) in (True, False)
        assert provider.shutdown(_SHORT) in (True, False)
        assert provider.flush(_SHORT) in (True, False)
        assert monotonic() - started < _BOUND

    def test_a_provider_that_was_shut_down_does_no_harm(self, provider: TracingProvider) -> None:
        """Spans started or ended after the shutdown are lost, and counted; nothing raises or stays current."""
        running = provider.start_span("running")
        provider.shutdown(_SHORT)
        before = provider.stats().ended
        with provider.span("late") as late:
            late.set_attribute("key", 1)
        running.end()
        stats = provider.stats()
        assert _balanced(stats)
        if self.records:
            assert stats.ended == before + 2
            assert sum(stats.dropped.values()) >= 2

    def test_flush_and_shutdown_from_several_threads(self, provider: TracingProvider) -> None:
        """Both may be called from any thread, at the same time, while spans end."""
        together = threading.Barrier(4)

        def work(number: int) -> None:
            together.wait(10)
            for item in range(20):
                provider.start_span(str(item)).end()
            (provider.flush if number % 2 else provider.shutdown)(_SHORT)

        with ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(work, number) for number in range(4)]:
                future.result(30)
        assert _balanced(provider.stats())

    @pytest.mark.parametrize("enabled", [True, False])
    def test_behind_a_service(self, service: TracingService, provider: TracingProvider, enabled: bool) -> None:
        """A service over the provider records while enabled, and never gives None where a span is started."""
        if not enabled:
            service.disable()
        result = service.start_span("operation")
        assert result.span is not None
        assert result.trace_context is not None
        service.end_span(result.span)
        if self.records:
            assert len(self.finished(provider)) == enabled
        service.enable()
        service.end_span(service.start_span("again").span)
        if self.records:
            assert len(self.finished(provider)) == enabled + 1
