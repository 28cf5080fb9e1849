"""The queue and its worker: nothing is lost between threads, at a flush or at a shutdown, without being counted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

import pytest

from kai_tracing_core.processing.batch import BatchOptions
from kai_tracing_core.processing.processor import Rejected, Retryable, Stats, TooLarge
from kai_tracing_core.processing.retry import RetryPolicy
from tests.support.exporting import ScriptedExporter, ScriptedProvider

FAST = RetryPolicy(initial=0.01, maximum=0.05)
NEVER_BY_ITSELF = BatchOptions(delay=3600, retry=FAST)


@contextmanager
def provider_of(exporter: ScriptedExporter, options: BatchOptions = NEVER_BY_ITSELF) -> Iterator[ScriptedProvider]:
    """A provider that is shut down at the end, however the test went."""
    provider = ScriptedProvider(exporter, options)
    try:
        yield provider
    finally:
        provider.shutdown(5)


def end_spans(provider: ScriptedProvider, count: int) -> None:
    """Start and end so many spans."""
    for number in range(count):
        provider.span(f"span {number}").end()


def assert_all_accounted(stats: Stats) -> None:
    """Every started span has ended, and is in one of the counts."""
    assert stats.started == stats.ended
    assert stats.ended == stats.queued + stats.exported + sum(stats.dropped.values())


def test_every_flush_meets_an_idle_worker() -> None:
    """A worker that is just falling asleep never misses the bell: 500 flushes of one span each all come through."""
    exporter = ScriptedExporter()
    with provider_of(exporter) as provider:
        for number in range(500):
            provider.span("one").end()
            assert provider.flush(10)
            assert len(exporter.exported) == number + 1


def test_concurrent_spans_and_flushes_lose_no_wake_up() -> None:
    """Spans and flushes of eight threads at once: after the last flush each span was exported, and once."""
    exporter = ScriptedExporter()
    options = BatchOptions(delay=3600, max_batch=7, max_queue=100_000)

    with provider_of(exporter, options) as provider:
        results: list[bool] = []

        def work() -> None:
            for _ in range(100):
                end_spans(provider, 5)
                results.append(provider.flush(20))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert all(results)
        assert len(results) == 800
        assert len(exporter.exported) == len({span.span_id for span in exporter.exported}) == 4000


def test_a_full_batch_goes_out_before_the_delay() -> None:
    """A batch that fills wakes the worker although the delay is an hour."""
    sent = threading.Event()
    exporter = ScriptedExporter([lambda batch: sent.set()])
    with provider_of(exporter, BatchOptions(delay=3600, max_batch=10)) as provider:
        end_spans(provider, 10)
        assert sent.wait(10)


def test_the_first_batch_is_not_cut_short() -> None:
    """The spans of a fresh worker wait for each other: no batch of one because of the bell that started it."""
    for _ in range(20):
        exporter = ScriptedExporter()
        with provider_of(exporter) as provider:
            end_spans(provider, 300)
            assert provider.flush(10)
            assert exporter.calls == [300]


def test_a_single_span_goes_out_after_the_delay() -> None:
    """One span, and nobody who flushes: the delay sends it."""
    exporter = ScriptedExporter()
    with provider_of(exporter, BatchOptions(delay=0.01)) as provider:
        end_spans(provider, 1)
        assert exporter.called.wait(10)


def test_flush_waits_for_what_is_in_flight() -> None:
    """A flush during an export returns only when that export is done."""
    release = threading.Event()
    exporter = ScriptedExporter([lambda batch: release.wait(10)])
    with provider_of(exporter, BatchOptions(delay=0)) as provider:
        end_spans(provider, 1)
        assert exporter.called.wait(10)
        assert not provider.flush(0.05)
        release.set()
        assert provider.flush(10)
        assert len(exporter.exported) == 1


def test_flush_during_a_retry_wait_returns_in_time() -> None:
    """While the backend wants to be left alone, a flush says False when its time is up, and the spans stay."""
    exporter = ScriptedExporter([Retryable("later", retry_after=30)])
    with provider_of(exporter) as provider:
        end_spans(provider, 3)
        started = monotonic()
        assert not provider.flush(0.2)
        assert monotonic() - started < 10
        assert provider.stats().queued == 3


def test_shutdown_cuts_a_retry_wait_short() -> None:
    """A shutdown in the middle of a long wait tries again at once, and delivers."""
    exporter = ScriptedExporter([Retryable("later", retry_after=30)])
    with provider_of(exporter, BatchOptions(delay=0, retry=RetryPolicy(max_elapsed=60))) as provider:
        end_spans(provider, 3)
        assert exporter.called.wait(10)
        assert provider.shutdown(20)
        assert len(exporter.exported) == 3
        assert exporter.closed


def test_shutdown_gives_up_in_time() -> None:
    """A backend that never takes anything does not keep the shutdown; what it did not take is counted."""
    exporter = ScriptedExporter([Retryable("no")] * 10_000)
    with provider_of(exporter) as provider:
        end_spans(provider, 5)
        started = monotonic()
        provider.shutdown(0.3)
        assert monotonic() - started < 10
        stats = provider.stats()
        assert stats.exported == 0
        assert sum(stats.dropped.values()) == 5
        assert_all_accounted(stats)


def test_shutdown_with_a_stuck_export(caplog: pytest.LogCaptureFixture) -> None:
    """An export that hangs does not hang the shutdown: False, a warning, and no span out of the books."""
    release = threading.Event()
    exporter = ScriptedExporter([lambda batch: release.wait(30)])
    with provider_of(exporter, BatchOptions(delay=0, max_batch=2)) as provider:
        end_spans(provider, 1)
        assert exporter.called.wait(10)
        end_spans(provider, 6)
        with caplog.at_level(logging.WARNING):
            assert not provider.shutdown(0.1)
        assert "7 spans could not be delivered" in caplog.text
        assert not exporter.closed
        assert_all_accounted(provider.stats())
        release.set()
        for thread in exporter.threads:
            thread.join(10)
        assert provider.stats().exported == 1
        assert provider.stats().dropped == {"shutdown": 6}


def test_spans_that_end_during_a_shutdown_are_accounted() -> None:
    """Threads go on ending spans while the provider is shut down: each is exported, or counted as dropped."""
    for _ in range(20):
        exporter = ScriptedExporter()
        with provider_of(exporter, BatchOptions(max_queue=100_000, max_batch=10)) as provider:
            ready = threading.Barrier(4)

            def work(provider: ScriptedProvider = provider, ready: threading.Barrier = ready) -> None:
                ready.wait(10)
                end_spans(provider, 100)

            threads = [threading.Thread(target=work) for _ in range(3)]
            for thread in threads:
                thread.start()
            ready.wait(10)
            provider.shutdown(10)
            for thread in threads:
                thread.join(10)
            stats = provider.stats()
            assert stats.exported == len(exporter.exported)
            assert stats.ended == 300
            assert len(exporter.threads) <= 1


def test_after_the_shutdown_nothing_is_queued() -> None:
    """Later spans are counted as dropped, a flush has nothing to do, and a second shutdown is none."""
    exporter = ScriptedExporter()
    with provider_of(exporter) as provider:
        assert provider.shutdown(5)
        end_spans(provider, 2)
        assert provider.flush(1)
        assert provider.shutdown(1)
        assert provider.stats().dropped == {"shut_down": 2}


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No thread can be started, as while the interpreter shuts down (Python 3.12) or at the system's limit."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        yield


@pytest.mark.usefixtures("no_threads")
def test_flush_without_a_worker() -> None:
    """Where no thread can be started a flush exports on the calling thread instead of waiting for nobody."""
    exporter = ScriptedExporter([Retryable("not yet")])
    with provider_of(exporter) as provider:
        end_spans(provider, 3)
        assert provider.flush(10)
        assert len(exporter.exported) == 3
        assert exporter.threads == {threading.current_thread()}
        end_spans(provider, 2)
        assert provider.shutdown(10)
        assert len(exporter.exported) == 5


def test_a_worker_is_started_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a thread could not be started, it is tried again after the next batch."""
    exporter = ScriptedExporter()
    with provider_of(exporter, BatchOptions(delay=0, max_batch=5)) as provider:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", lambda thread: (_ for _ in ()).throw(RuntimeError("no")))
            end_spans(provider, 1)
        end_spans(provider, 5)
        assert exporter.called.wait(10)


@pytest.mark.parametrize("error", [ValueError("a bug"), SystemExit(3), KeyboardInterrupt()])
def test_the_worker_survives_what_an_exporter_raises(error: BaseException) -> None:
    """Whatever is raised, the batch is counted and the next one goes out by the same thread."""
    exporter = ScriptedExporter([error])
    with provider_of(exporter) as provider:
        end_spans(provider, 1)
        assert provider.flush(10)
        end_spans(provider, 1)
        assert provider.flush(10)
        assert provider.stats().dropped == {"export_error": 1}
        assert len(exporter.exported) == 1
        assert len(exporter.threads) == 1


def test_one_bad_span_does_not_take_its_neighbours_along() -> None:
    """An exporter that fails on one span of fifty loses that one."""

    class Picky(ScriptedExporter):
        def export(self, spans, timeout):
            if any(span.name == "span 17" for span in spans):
                raise ValueError("cannot be encoded")
            return super().export(spans, timeout)

    exporter = Picky()
    with provider_of(exporter) as provider:
        end_spans(provider, 50)
        assert provider.flush(10)
        assert len(exporter.exported) == 49
        assert provider.stats().dropped == {"export_error": 1}


def test_outcomes_are_told_apart() -> None:
    """Too large is split, rejected is counted under its own reason, and what was refused of a batch, too."""

    class Refusing(ScriptedExporter):
        def export(self, spans, timeout):
            return super().export(spans, timeout) + (1 if len(spans) == 4 else 0)

    exporter = Refusing([TooLarge("8"), None, Rejected("never", reason="http_400")])
    with provider_of(exporter) as provider:
        end_spans(provider, 8)
        assert provider.flush(10)
        assert exporter.calls == [8, 4, 4]
        stats = provider.stats()
        assert stats.exported == 3
        assert stats.dropped == {"rejected": 1, "http_400": 4}
        assert_all_accounted(stats)


def test_a_retry_after_beyond_the_patience_is_not_waited_for() -> None:
    """A server that wants an hour of peace gets it: the batch is dropped now, not after sleeping."""
    exporter = ScriptedExporter([Retryable("in an hour", retry_after=3600)])
    with provider_of(exporter) as provider:
        end_spans(provider, 2)
        assert provider.flush(10)
        assert provider.stats().dropped == {"unreachable": 2}
        assert provider.stats().last_error == "2 spans dropped (unreachable): in an hour"


def test_a_retry_after_holds_for_the_next_batch_too() -> None:
    """While the time that the server asked for is not over, a later batch is given up unsent, and counted."""
    exporter = ScriptedExporter([Retryable("in an hour", retry_after=3600)])
    with provider_of(exporter) as provider:
        end_spans(provider, 2)
        assert provider.flush(10)
        end_spans(provider, 3)
        assert provider.flush(10)
        assert exporter.calls == [2]
        stats = provider.stats()
        assert (stats.dropped, stats.retries) == ({"unreachable": 5}, 0)
        assert_all_accounted(stats)


def test_the_batch_after_a_retry_after_waits_and_is_delivered() -> None:
    """A batch that comes before the server is ready again is sent when it is, and that is no repetition."""
    exporter = ScriptedExporter([Retryable("soon", retry_after=0.5)])
    with provider_of(exporter, BatchOptions(delay=3600, retry=RetryPolicy(max_elapsed=0.4))) as provider:
        end_spans(provider, 2)
        assert provider.flush(10)
        sleep(0.2)  # then less is left than a batch may wait
        end_spans(provider, 3)
        assert provider.flush(10)
        stats = provider.stats()
        assert (exporter.calls, stats.exported, stats.dropped, stats.retries) == ([2, 3], 3, {"unreachable": 2}, 0)
