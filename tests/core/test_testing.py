"""The helpers for tests: they find what leaks, and count as they are told."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

import pytest
from kai_tracing_inmemory import InMemoryProvider

from kai_tracing_core import TraceContext, TracingProvider, TracingService
from kai_tracing_core.context import BAGGAGE, CURRENT
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.testing._base import Contract
from kai_tracing_core.testing.ids import FixedClock, FixedIds
from kai_tracing_core.testing.leaks import no_leaks


def leak_span() -> None:
    """Leave a span open."""
    InMemoryProvider().start_span("left open")


def leak_context() -> None:
    """Leave a context current."""
    CURRENT.set(TraceContext(1, 1))


def leak_baggage() -> None:
    """Leave baggage behind."""
    TracingService(InMemoryProvider()).set_baggage("k", "v")


@pytest.mark.parametrize(
    ("leak", "message"), [(leak_span, "left open"), (leak_context, "TraceContext"), (leak_baggage, "baggage")]
)
def test_leaks_are_found_and_put_back(leak: Callable[[], None], message: str) -> None:
    """A span, a context or baggage that stays fails the block, and is gone after it."""
    before = CURRENT.get(), BAGGAGE.get()
    with pytest.raises(AssertionError, match=message), no_leaks():
        leak()
    assert (CURRENT.get(), BAGGAGE.get()) == before


def test_a_leaked_opentelemetry_context_is_found() -> None:
    """Where OpenTelemetry's context is in use, what stays in it is found and put back, too."""
    api = pytest.importorskip("opentelemetry.context", reason="the core does without OpenTelemetry's API")

    def leak() -> None:
        with pytest.raises(AssertionError, match="opentelemetry context"), no_leaks():
            api.attach(api.set_value("key", "value"))
        assert api.get_value("key") is None

    contextvars.copy_context().run(leak)


def test_threads_that_do_not_end_are_found() -> None:
    """A provider's thread that runs on fails the block; one that ends in time, and others' threads, do not."""
    release = threading.Event()
    worker = threading.Thread(target=release.wait, name="kai-tracing-test", args=(30,))
    other = threading.Thread(target=release.wait, name="other", args=(30,))
    with pytest.raises(AssertionError, match="kai-tracing-test still runs"), no_leaks(grace=0.01):
        worker.start()
        other.start()
    with no_leaks():
        pass
    release.set()
    worker.join(30)
    other.join(30)
    with no_leaks():
        threading.Thread(target=threading.Event().wait, name="kai-tracing-short", args=(0.01,)).start()


def test_what_was_current_may_stay() -> None:
    """Only what the block changed counts."""
    with InMemoryProvider().span("around"), no_leaks():
        pass


def test_fixed_ids_and_times() -> None:
    """The same in every run, and told where to start and how fast to go."""
    clock = FixedClock(1_000_000_000, step=0.5)
    provider = InMemoryProvider(config=PipelineConfig(ids=FixedIds(16), clock=clock))
    for _ in range(2):
        provider.start_span("x").end()
    clock.advance(2)
    assert [(span.trace_id[-2:], span.span_id[-2:]) for span in provider.spans] == [("10", "10"), ("11", "11")]
    assert [span.duration for span in provider.spans] == [0.5, 0.5]
    assert clock.now == 5_000_000_000


def test_the_suite_says_what_to_override() -> None:
    """Without a provider, or without a way to read one's spans, it says so."""

    class Foreign(TracingProvider):
        start_span = get_current_span = extract_context = inject_context = None  # unused

    with pytest.raises(NotImplementedError, match="override `finished`"):
        Contract().finished(Foreign())
    with pytest.raises(NotImplementedError, match="fixture `provider`"):
        Contract.provider.__wrapped__(Contract())
