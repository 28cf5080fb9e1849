"""The bridge as the global TracerProvider, and `opentelemetry-instrument`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kai_tracing_inmemory import InMemoryProvider
from kai_tracing_opentelemetry import OpenTelemetryProvider, bridge
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider

from kai_tracing_core import TracingService
from kai_tracing_core.noop import NoopProvider
from tests.bridge.conftest import Site


@pytest.fixture
def installed() -> Iterator[InMemoryProvider]:
    """An in-memory provider behind `opentelemetry.trace`."""
    provider = InMemoryProvider()
    bridge.install(TracingService(provider))
    yield provider
    bridge.uninstall()
    provider.shutdown()


def test_the_global_provider_makes_our_spans(installed: InMemoryProvider) -> None:
    """Spans of `opentelemetry.trace` go to the provider, with their scope."""
    with trace.get_tracer("library", "1.0").start_as_current_span("work", attributes={"a": 1}):
        pass
    span = installed.get("work")
    assert (span.attributes, span.scope and span.scope.name) == ({"a": 1}, "library")


def test_tracers_follow_the_installed_provider(installed: InMemoryProvider) -> None:
    """A tracer made before goes over to what is installed later, and does nothing when nothing is."""
    tracer = trace.get_tracer("library")
    other = InMemoryProvider()
    bridge.install(other)
    tracer.start_span("work").end()
    assert (len(installed.spans), len(other.spans)) == (0, 1)
    bridge.uninstall(installed)
    assert tracer.start_span("still").is_recording()
    bridge.uninstall(other)
    with tracer.start_as_current_span("nothing") as span:
        assert not span.is_recording()
    assert trace.get_tracer_provider() is bridge.GLOBAL
    assert bridge.GLOBAL.force_flush()


def test_with_nothing_installed_the_context_is_passed_on() -> None:
    """Without a provider a remote parent is still what goes out."""
    remote = trace.SpanContext(1, 2, True, trace.TraceFlags(1))
    context = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    span = bridge.GLOBAL.get_tracer("library").start_span("work", context)
    assert (span.get_span_context().trace_id, span.get_span_context().span_id) == (1, 2)


def test_initialising_the_opentelemetry_provider_installs_it() -> None:
    """`set_provider` is enough, and shutting down takes it away again."""
    provider = OpenTelemetryProvider()
    service = TracingService(provider)
    assert bridge.GLOBAL.provider is provider
    service.shutdown()
    assert bridge.GLOBAL.provider is None


def test_a_provider_without_spans_of_ours_is_refused() -> None:
    """The bridge says what it needs."""
    with pytest.raises(TypeError, match="NoopProvider"):
        bridge.install(TracingService(NoopProvider()))


def test_another_provider_is_not_replaced(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Where the application has set an SDK provider the bridge refuses, and the OpenTelemetry provider says so."""
    sdk = SdkTracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", sdk)
    with pytest.raises(RuntimeError, match="TracerProvider"):
        bridge.install(InMemoryProvider())
    service = TracingService(OpenTelemetryProvider())
    assert "keeps its TracerProvider" in caplog.text
    service.shutdown()


PROGRAM = """
import sys, requests
requests.get(sys.argv[1], timeout=10)
from opentelemetry import trace
from kai_tracing_core import tracing
with tracing.span("ours"):
    requests.get(sys.argv[1], timeout=10)
for span in getattr(tracing.provider, "spans", ()):
    print("span", span.name, span.kind.name, span.scope.name if span.scope else "-", span.parent_id is not None)
print("provider", type(tracing.provider).__name__, type(trace.get_tracer_provider()).__module__)
"""


@pytest.mark.parametrize(
    "choice",
    [
        {"OTEL_PYTHON_TRACER_PROVIDER": "kai_tracing"},
        # As where the SDK's configurator is found first.
        {"OTEL_PYTHON_TRACER_PROVIDER": "kai_tracing", "OTEL_PYTHON_CONFIGURATOR": "configurator"},
    ],
    ids=["any configurator", "the SDK's configurator"],
)
def test_opentelemetry_instrument(site: Site, tmp_path: Path, choice: dict[str, str]) -> None:
    """A program that knows nothing of it is traced by `opentelemetry-instrument` into the chosen provider."""
    done = instrument(site, tmp_path, {"TRACING_TYPE": "inmemory", **choice})
    scope = "opentelemetry.instrumentation.requests"
    assert [line for line in done.splitlines() if line.startswith(("span", "provider"))] == [
        f"span GET CLIENT {scope} False",
        f"span GET CLIENT {scope} True",
        "span ours INTERNAL - False",
        "provider InMemoryProvider kai_tracing_opentelemetry.tracer",
    ]
    assert all("traceparent" in headers for headers in site.headers)


def test_metrics_that_cannot_be_set_up(site: Site, tmp_path: Path) -> None:
    """An exporter of metrics that is not installed is a warning; spans are recorded all the same."""
    missing = {"OTEL_PYTHON_TRACER_PROVIDER": "kai_tracing", "OTEL_METRICS_EXPORTER": "nobody"}
    done = instrument(site, tmp_path, {"TRACING_TYPE": "inmemory", **missing})
    assert "span ours INTERNAL - False" in done.splitlines()


def test_opentelemetry_instrument_without_the_choice(site: Site, tmp_path: Path) -> None:
    """Having the package installed changes nothing for who has not chosen it: the SDK is set up."""
    done = instrument(site, tmp_path, {"TRACING_TYPE": "opentelemetry"})
    assert done.splitlines()[-1] == "provider JoinedProvider opentelemetry.sdk.trace"


def instrument(site: Site, directory: Path, variables: dict[str, str]) -> str:
    """Run the program under `opentelemetry-instrument`; what it printed."""
    command = Path(sys.executable).with_name("opentelemetry-instrument")
    program = directory / "program.py"
    program.write_text(PROGRAM)
    kept = {name: text for name, text in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")}
    quiet = {f"OTEL_{name}_EXPORTER": "none" for name in ("TRACES", "METRICS", "LOGS")}
    done = subprocess.run(
        [command, sys.executable, program, f"{site.url}/page"],
        env={**kept, **quiet, **variables},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
