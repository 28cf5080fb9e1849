"""The service: which provider is in effect, and that switching loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from kai_tracing_inmemory import InMemoryProvider

from kai_tracing_core import SpanOptions, SpanStatusCode, TraceContext, TracingService, initialize_tracing
from kai_tracing_core import initializer as initializer_module
from kai_tracing_core.noop import NOOP_SPAN, NoopProvider
from kai_tracing_core.processing.processor import Stats

REMOTE = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1, is_remote=True)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment without any setting of the machine's."""
    for name in list(os.environ):
        if name.startswith(("TRACING_", "OTEL_")):
            monkeypatch.delenv(name)
    return monkeypatch


# -- initialisation ----------------------------------------------------------------------------------------------------


def test_it_initialises_itself_on_first_use(environment: pytest.MonkeyPatch) -> None:
    """Whatever is called first, the provider is the one that the environment names."""
    environment.setenv("TRACING_TYPE", "inmemory")
    uses = (
        lambda service: service.span("block").end(),
        lambda service: service.start_span("started").span.end(),
        lambda service: service.get_current_span(),
        lambda service: service.extract_context({}),
        lambda service: service.enabled,
        lambda service: service.enable(),
        lambda service: service.get_baggage(),
    )
    for use in uses:
        service = TracingService()
        use(service)
        assert isinstance(service.provider, InMemoryProvider)
        assert service.enabled
        service.shutdown()


def test_it_initialises_itself_once(environment: pytest.MonkeyPatch) -> None:
    """Many threads that come at the same time get the same provider, and no span of theirs is lost."""
    environment.setenv("TRACING_TYPE", "inmemory")
    made: list[TracingService] = []
    configure = initializer_module.configure

    def counted(service: TracingService) -> None:
        made.append(service)
        configure(service)

    environment.setattr(initializer_module, "configure", counted)
    for _ in range(5):
        service = TracingService()
        together = threading.Barrier(16)

        def work(number: int, service: TracingService = service, together: threading.Barrier = together) -> None:
            together.wait(10)
            with service.span(str(number)):
                pass

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(work, range(16)))
        provider = service.provider
        assert isinstance(provider, InMemoryProvider)
        assert sorted(int(span.name) for span in provider.spans) == list(range(16))
        assert made.count(service) == 1
        service.shutdown()


def test_a_wrong_setting_is_loud_once(environment: pytest.MonkeyPatch) -> None:
    """The first use raises what is wrong; from then on tracing does nothing and does not get into the way."""
    environment.setenv("TRACING_TYPE", "inmemroy")
    service = TracingService()
    with pytest.raises(Exception, match="inmemory"):
        service.start_span("first")
    with service.span("second") as span:
        assert not span.is_recording()
    assert not service.enabled
    assert service.flush()
    assert service.shutdown()


def test_tracing_what_initialises_tracing(environment: pytest.MonkeyPatch) -> None:
    """A plugin that uses the service while it is being set up gets spans that do nothing, not an endless recursion."""
    seen: list[bool] = []

    def configure(service: TracingService) -> None:
        with service.span("inside") as span:
            seen.append(span.is_recording())
        service.set_provider(InMemoryProvider())

    environment.setattr(initializer_module, "configure", configure)
    service = TracingService()
    with service.span("outside") as span:
        assert span.is_recording()
    assert seen == [False]
    service.shutdown()


def test_nobody_waits_for_ever(environment: pytest.MonkeyPatch) -> None:
    """Where the set-up hangs in one thread, another one goes on untraced after a while."""
    environment.setattr("kai_tracing_core.service._EXIT_TIMEOUT", 0.05)
    started, release = threading.Event(), threading.Event()

    def configure(service: TracingService) -> None:
        started.set()
        release.wait(30)
        service.set_provider(InMemoryProvider())

    environment.setattr(initializer_module, "configure", configure)
    service = TracingService()
    thread = threading.Thread(target=service.get_current_span)
    thread.start()
    assert started.wait(30)
    with service.span("meanwhile") as span:
        assert not span.is_recording()
    release.set()
    thread.join(30)
    with service.span("afterwards") as span:
        assert span.is_recording()
    service.shutdown()


def test_without_auto_it_does_nothing_until_told() -> None:
    """`auto=False` records nothing until a provider is set."""
    service = TracingService(auto=False)
    service.enable()
    assert not service.enabled
    assert service.start_span("operation").span is NOOP_SPAN
    assert (service.flush(), service.stats()) == (True, Stats())
    service.set_provider(InMemoryProvider())
    assert service.enabled
    service.shutdown()


def test_initialize_tracing_may_be_called_again() -> None:
    """The provider before is flushed and shut down."""
    service = TracingService(auto=False)
    assert initialize_tracing(type="inmemory", service=service) is service
    first = service.provider
    initialize_tracing(type="inmemory", service_name="again", service=service)
    assert service.provider is not first
    assert isinstance(service.provider, InMemoryProvider)
    assert service.provider.pipeline.resource["service.name"] == "again"
    assert isinstance(first, InMemoryProvider)
    first.start_span("late").end()
    assert [span.name for span in service.provider.spans] == ["late"]
    service.shutdown()


# -- switching ---------------------------------------------------------------------------------------------------------


def test_disabling_and_enabling(service: TracingService, provider: InMemoryProvider) -> None:
    """While disabled nothing new is recorded; what runs is recorded to its end, and enabling takes up again."""
    running = service.start_span("running").span
    service.disable()
    assert not service.enabled
    with service.span("unrecorded") as span:
        assert span is NOOP_SPAN
    assert service.get_current_span() is running
    service.end_span(running)
    assert service.get_current_span() is NOOP_SPAN
    assert service.stats().exported == 1
    service.enable()
    with service.span("again"):
        pass
    assert [span.name for span in provider.spans] == ["running", "again"]


def test_a_disabled_service_passes_the_context_on(service: TracingService) -> None:
    """What came in goes out, so that a trace is not cut by a service that does not record."""
    service.disable()
    headers = {"traceparent": f"00-{REMOTE.trace_id}-{REMOTE.span_id}-01"}
    with service.span("server", parent=service.extract_context(headers)):
        out: dict[str, str] = {}
        service.inject_context(service.start_span("client").trace_context, out)
        assert out == headers
        assert service.with_span("run", lambda: service.span("inner").trace_context.span_id) == REMOTE.span_id


def test_switching_loses_no_span(service: TracingService, provider: InMemoryProvider) -> None:
    """The old provider has what had ended, the new one what still ran; each is counted where it is."""
    service.span("before").end()
    running = service.start_span("running").span
    following = InMemoryProvider()
    service.set_provider(following)
    child = service.start_span("child").span
    child.end()
    running.end()
    assert [span.name for span in provider.spans] == ["before"]
    assert [span.name for span in following.spans] == ["child", "running"]
    assert following.get("child").parent_id == running.span_id
    stats = following.stats()
    assert (stats.started, stats.ended, stats.exported) == (2, 2, 2)
    assert provider.stats().dropped == {}
    service.shutdown()


def test_switching_under_load_loses_no_span() -> None:
    """Threads that trace while the provider is replaced again and again lose none of their spans."""
    service = TracingService(InMemoryProvider())
    providers = [service.provider]
    stop = threading.Event()

    def work() -> int:
        count = 0
        while not stop.is_set():
            with service.span("operation"):
                count += 1
        return count

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(work) for _ in range(3)]
        for _ in range(20):
            providers.append(InMemoryProvider())
            service.set_provider(providers[-1])
        stop.set()
        total = sum(future.result(30) for future in futures)
    assert sum(provider.stats().ended for provider in providers) == total
    assert not any("shut_down" in provider.stats().dropped for provider in providers)
    service.shutdown()


def test_switching_to_a_provider_that_does_not_record(service: TracingService, provider: InMemoryProvider) -> None:
    """What still runs then has nowhere to go, and is counted as lost."""
    running = service.start_span("running").span
    service.set_provider(NoopProvider())
    running.end()
    assert provider.stats().dropped == {"shut_down": 1}
    assert service.shutdown()


def test_the_same_provider_again(service: TracingService, provider: InMemoryProvider) -> None:
    """Setting the provider that is set keeps it running; setting it disabled keeps it for later."""
    service.set_provider(provider)
    service.span("operation").end()
    service.set_provider(provider, enable=False)
    service.span("unrecorded").end()
    service.enable()
    service.span("again").end()
    assert [span.name for span in provider.spans] == ["operation", "again"]


def test_shutdown_is_for_good(service: TracingService, provider: InMemoryProvider) -> None:
    """After it spans do nothing, and it may be called again; what was recorded can still be read."""
    service.span("operation").end()
    assert service.shutdown()
    assert service.shutdown()
    assert service.span("late") is NOOP_SPAN
    assert service.stats() == Stats()
    assert [span.name for span in provider.spans] == ["operation"]


# -- calls -------------------------------------------------------------------------------------------------------------


def test_none_for_a_span_is_ignored(service: TracingService) -> None:
    """What `get_current_span` may give can be handed to every method."""
    assert service.get_current_span() is None
    service.add_span_attributes(None, {"a": 1})
    service.add_span_event(None, "event")
    service.set_span_status(None, SpanStatusCode.OK)
    service.end_span(None)


def test_options_stay_the_callers(service: TracingService, provider: InMemoryProvider) -> None:
    """The same options may be used again, by either way of starting a span."""
    options = SpanOptions(attributes={"a": 1})
    service.with_span("run", lambda: None, options)
    result = service.start_span("started", options)
    assert service.get_current_span() is result.span
    service.end_span(result.span)
    service.end_span(service.start_span("nonsense", 5).span)  # what is tested
    assert [span.name for span in provider.spans] == ["run", "started", "nonsense"]
    assert options == SpanOptions(attributes={"a": 1})


def test_the_default_service_is_ready_in_a_fresh_process() -> None:
    """`tracing` needs no call: the environment alone chooses the provider, and the exit is clean."""
    program = (
        "from kai_tracing_core import tracing\n"
        "with tracing.span('operation') as span: assert span.is_recording()\n"
        "print(tracing.provider.tree())\n"
    )
    environment = {**os.environ, "TRACING_TYPE": "inmemory"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("operation  ")


def test_forks_count_anew(service: TracingService, provider: InMemoryProvider) -> None:
    """A forked child has none of the parent's finished spans and counts from zero; the parent's stay."""
    service.span("parent").end()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            service.span("child").end()
            stats = provider.stats()
            names = ",".join(span.name for span in provider.spans)
            os.write(writer, f"{names} {stats.started} {stats.ended} {stats.exported}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    assert os.read(reader, 100).decode() == "child 1 1 1"
    os.close(reader)
    assert [span.name for span in provider.spans] == ["parent"]
