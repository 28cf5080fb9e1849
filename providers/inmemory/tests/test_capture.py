"""Capturing: everything that a test traces, nothing of anybody else's, and all as it was afterwards."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from kai_tracing_inmemory import InMemoryProvider, capture_spans

from kai_tracing_core import ConfigurationError, TracingService, initialize_tracing, tracing
from kai_tracing_core.noop import NoopProvider
from kai_tracing_core.plugins import register_plugin, unregister_plugin


def test_what_was_configured_is_in_effect_again() -> None:
    """The provider, whether it is enabled, and the current span and baggage come back, also after an error."""
    provider = InMemoryProvider()
    service = TracingService(provider)
    with service.span("outer") as outer:
        service.set_baggage("tenant", "t1")
        with pytest.raises(RuntimeError), capture_spans(service) as spans:
            assert service.get_current_span() is None
            assert not service.get_baggage()
            service.start_span("left open")
            service.set_baggage("left", "behind")
            service.disable()
            raise RuntimeError
        assert service.get_current_span() is outer
        assert dict(service.get_baggage()) == {"tenant": "t1"}
        service.remove_baggage("tenant")
    assert service.provider is provider
    assert [span.name for span in provider.spans] == ["outer"]
    assert [span.name for span in spans.running] == ["left open"]
    assert "set_provider" not in vars(service)


def test_what_was_not_configured_is_not_afterwards() -> None:
    """A service that would initialise itself at its first use still does."""
    service = TracingService()
    before = dict(vars(service))
    with capture_spans(service) as spans:
        service.span("operation").end()
    assert vars(service) == before
    assert spans.names == ["operation"]


def test_captures_nest() -> None:
    """A block inside another has its own spans."""
    with capture_spans() as outer:
        with tracing.span("outside"), capture_spans() as inner:
            tracing.span("inside").end()
        tracing.span("later").end()
    assert inner.names == ["inside"]
    assert outer.names == ["outside", "later"]
    outer.assert_span("later", parent=None)


def test_threads_and_tasks() -> None:
    """What ends on other threads and in tasks is there, and can be waited for."""

    async def work(number: int) -> None:
        with tracing.span(f"task {number}"):
            await asyncio.sleep(0)

    async def main() -> None:
        with tracing.span("gather"):
            await asyncio.gather(work(1), work(2))

    with capture_spans() as spans:
        go = threading.Event()

        def later() -> None:
            go.wait(10)
            tracing.span("late").end()
            tracing.span("late").end()

        thread = threading.Thread(target=later)
        thread.start()
        asyncio.run(main())
        with tracing.span("pool"), tracing.executor(2) as pool:
            pool.submit(tracing.span("pooled").end).result(10)
        threading.Timer(0.05, go.set).start()
        assert len(spans.wait_for("la*", count=2)) == 2
        thread.join()
        spans.assert_tree(
            """
            gather
              task ...
              task ...
            pool
              pooled
            late
            late
            """,
            ordered=False,
        )


def test_waiting_in_vain() -> None:
    """Says what there is instead."""
    with capture_spans() as spans:
        tracing.span("other").end()
        with pytest.raises(TimeoutError, match=r"0 of 2 spans match \('work'\) after 0\.01 s; there are:\nother"):
            spans.wait_for("work", count=2, timeout=0.01)


def test_an_application_that_initialises_tracing_itself() -> None:
    """Its provider is in effect, and captured, even after it shut tracing down once; then all is as before."""
    provider = tracing.provider
    with capture_spans() as spans:
        with tracing.span("across"):
            initialize_tracing(type="zipkin", service_name="shop", zipkin={"endpoint": "http://127.0.0.1:9/"})
            with tracing.span("by zipkin"):
                pass
            assert tracing.provider.name == "zipkin"
        tracing.shutdown(0)
        tracing.span("while shut down").end()
        initialize_tracing(type="inmemory", service_name="shop")
        tracing.span("again").end()
        own = tracing.provider
        assert isinstance(own, InMemoryProvider)
        assert [span.name for span in own.spans] == ["again"]
        tracing.set_provider(own)
        tracing.span("once").end()
        tracing.set_provider(NoopProvider())
        tracing.span("nowhere").end()
    assert tracing.provider is provider
    spans.assert_tree("across\n  by zipkin\nagain\nonce")
    assert spans.get("again").resource["service.name"] == "shop"
    assert not spans.running


def test_watching_another_service() -> None:
    """What services besides the default one record can be captured, too."""
    service = TracingService(InMemoryProvider())
    with capture_spans() as spans:
        spans.watch(service.provider)
        spans.watch(service.provider)
        with tracing.span("ours"), service.span("theirs"):
            pass
    spans.assert_tree("ours\n  theirs")


def test_fixed() -> None:
    """Ids from 1 and a clock that goes by milliseconds, also where the application initialises tracing."""
    for _ in range(2):
        with capture_spans(fixed=True) as spans:
            with tracing.span("outer") as outer:
                tracing.span("inner").end()
            assert (outer.trace_id, outer.span_id, outer.duration) == (f"{1:032x}", f"{1:016x}", 0.003)
            assert outer.start_time == 1_700_000_000_000_000_000
            assert spans.clock is not None
            with tracing.span("long") as long:
                spans.clock.advance(60)
            assert long.duration == 60.001
            initialize_tracing(type="inmemory")
            assert tracing.span("next").span_id == f"{4:016x}"
    assert TracingService(InMemoryProvider()).span("random").trace_id != f"{1:032x}"


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without settings everything is recorded, whatever the environment says; with them, as the service would do."""
    monkeypatch.setenv("TRACING_SAMPLER", "always_off")
    monkeypatch.setenv("TRACING_ENABLED", "false")
    with capture_spans() as spans:
        tracing.span("operation").end()
        assert len(spans) == 1
    with capture_spans(service_name="shop") as spans:
        tracing.span("operation").end()
        assert not len(spans)
    with capture_spans(fixed=True, sampler="always_on", service_name="shop") as spans:
        tracing.span("operation", attributes={"password": "secret"}).end()
        assert spans[0].span_id == f"{1:016x}"
        assert spans[0].resource["service.name"] == "shop"
        assert "secret" not in str(spans[0].attributes)
    with capture_spans(enabled=False, sampler="always_on") as spans:
        tracing.span("operation").end()
        assert not len(spans)
        tracing.enable()
        tracing.span("operation").end()
        assert len(spans) == 1


def test_wrong_settings() -> None:
    """An error that names the setting, and nothing is changed."""
    before = dict(vars(tracing))
    with pytest.raises(ConfigurationError, match="smapler"), capture_spans(fixed=True, smapler="always_on"):
        pass
    assert vars(tracing) == before
    assert TracingService(InMemoryProvider()).span("random").trace_id != f"{1:032x}"


def test_another_provider_of_the_same_name() -> None:
    """Where somebody else's is registered as `inmemory` there is nothing to capture from; that is said."""
    register_plugin(NoopProvider, name="inmemory", kind="providers")
    try:
        with pytest.raises(ConfigurationError, match="keeps no spans"), capture_spans(service_name="shop"):
            pass
    finally:
        unregister_plugin("inmemory", "providers")


def test_other_threads_never_find_the_service_without_a_provider() -> None:
    """While captures come and go, threads that trace all the time record without an error."""
    stop = threading.Event()

    def trace() -> int:
        count = 0
        while not stop.is_set():
            with tracing.span("background"):
                count += 1
        return count

    with capture_spans() as outer, ThreadPoolExecutor(2) as pool:
        running = [pool.submit(contextvars.Context().run, trace) for _ in range(2)]
        for _ in range(50):
            with capture_spans() as inner:
                tracing.span("foreground").end()
                inner.assert_span("foreground", parent=None)
        stop.set()
        assert sum(future.result(10) for future in running) > 0
    outer.assert_no_span("foreground")
