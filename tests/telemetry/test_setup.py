"""From `TRACING_TELEMETRY` to services that are told of every span."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from kai_tracing_core import ConfigurationError, TracingSettings, hookimpl, plugins, register_plugin
from kai_tracing_core.noop import NoopProvider
from kai_tracing_core.telemetry.contract import TelemetryService
from kai_tracing_core.telemetry.inmemory import InMemoryTelemetry
from kai_tracing_core.telemetry.opentelemetry import OpenTelemetryTelemetry
from kai_tracing_core.telemetry.prometheus import PrometheusTelemetry
from tests.telemetry.conftest import Initialized


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    before = dict(plugins._registered)
    yield
    plugins._registered.clear()
    plugins._registered.update(before)


def test_chosen_by_variable(initialized: Initialized, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable names the services, which `tracing.telemetry` gives, and which know of spans and of stats."""
    monkeypatch.setenv("TRACING_TELEMETRY", "prometheus, opentelemetry,inmemory")
    service = initialized(service_name="shop")
    assert [type(each) for each in service.telemetry] == [
        PrometheusTelemetry,
        OpenTelemetryTelemetry,
        InMemoryTelemetry,
    ]
    service.span("work").end()
    labels = {"service": "shop", "operation": "work", "kind": "internal", "status_class": "ok"}
    assert REGISTRY.get_sample_value("traces_span_calls_total", labels) == 1
    assert REGISTRY.get_sample_value("kai_tracing_spans_started_total") == 1
    service.shutdown()
    assert REGISTRY.get_sample_value("kai_tracing_spans_started_total") is None
    assert service.telemetry == ()


def test_again(initialized: Initialized) -> None:
    """Initialised again, the services before are closed, and the new ones begin."""
    service = initialized(telemetry=["prometheus"])
    service.span("work").end()
    initialized(service=service, telemetry=["prometheus"])
    assert REGISTRY.get_sample_value("kai_tracing_spans_started_total") == 0


def test_unknown(initialized: Initialized) -> None:
    """A name that there is not is an error that names the nearest, and leaves nothing behind."""
    with pytest.raises(ConfigurationError, match=r"TRACING_TELEMETRY.*Did you mean prometheus\?"):
        initialized(telemetry=["inmemory", "prometeus"])
    with pytest.raises(ConfigurationError, match="TRACING_TELEMETRY"):
        initialized(telemetry=["prometheus", "nonsense"])
    assert REGISTRY.get_sample_value("kai_tracing_spans_started_total") is None


@pytest.mark.parametrize(("name", "library"), [("prometheus", "prometheus_client"), ("opentelemetry", "opentelemetry")])
def test_missing_library(initialized: Initialized, monkeypatch: pytest.MonkeyPatch, name: str, library: str) -> None:
    """Where the library is missing, the error says what to install."""
    for module in [module for module in sys.modules if module.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, f"kai_tracing_core.telemetry.{name}")
    monkeypatch.setattr(sys, "meta_path", [_Missing(library), *sys.meta_path])
    with pytest.raises(ConfigurationError, match=rf'pip install "kai-tracing-core\[{name}\]"'):
        initialized(telemetry=[name])


class _Missing:
    """Finds that a library is not installed."""

    def __init__(self, library: str) -> None:
        self._library = library

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == self._library:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_own_service(initialized: Initialized) -> None:
    """A service of the application's own is a class, or something with the hook."""

    class Plugin:
        @hookimpl
        def kai_tracing_create_telemetry(self, settings: TracingSettings) -> TelemetryService:
            telemetry = InMemoryTelemetry()
            telemetry.made_for = settings.service_name
            return telemetry

    register_plugin(InMemoryTelemetry, name="as_class", kind="telemetry")
    register_plugin(Plugin(), name="as_hook", kind="telemetry")
    service = initialized(service_name="shop", telemetry=["as_class", "as_hook"])
    service.span("work").end()
    first, second = service.telemetry
    assert first.calls("work") == second.calls("work") == 1
    assert second.made_for == "shop"


def test_broken_service(initialized: Initialized) -> None:
    """A service that cannot be made stops the start-up, and its name is said."""

    class Broken(InMemoryTelemetry):
        def __init__(self) -> None:
            raise RuntimeError("no room")

    register_plugin(Broken, name="broken", kind="telemetry")
    with pytest.raises(ConfigurationError, match=r"'broken'.*RuntimeError: no room"):
        initialized(telemetry=["broken"])


def test_other_provider(initialized: Initialized, caplog: pytest.LogCaptureFixture) -> None:
    """With a provider that does not record here there is nothing to measure, and a warning says so."""

    class Elsewhere(NoopProvider):
        name = "elsewhere"

    register_plugin(Elsewhere, name="elsewhere", kind="providers")
    service = initialized(type="elsewhere", telemetry=["inmemory"])
    assert service.telemetry == ()
    assert "elsewhere" in caplog.text


def test_nothing_imported(tmp_path: Path) -> None:
    """What is not chosen is not imported."""
    source = """
import sys
from kai_tracing_core import initialize_tracing
initialize_tracing(type="inmemory").span("work").end()
libraries = ("prometheus_client", "opentelemetry.metrics", "kai_tracing_core.telemetry", "asyncio")
print([name for name in libraries if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path
    )
    assert done.stdout == "[]\n"


def test_tail_sampling(initialized: Initialized) -> None:
    """Spans are measured before tail sampling drops them: each once, whatever it decides."""
    service = initialized(telemetry=["inmemory"], sampler="tail", sampler_arg="error,probability=0.1")
    for _ in range(100):
        service.span("work").end()
    assert service.flush()
    assert service.stats().exported < 100
    assert service.telemetry[0].calls("work") == 100


def test_noop(initialized: Initialized, caplog: pytest.LogCaptureFixture) -> None:
    """With the no-op provider there is nothing to measure either, and a warning says so."""
    assert initialized(type="noop", telemetry=["inmemory"]).telemetry == ()
    assert "TRACING_TELEMETRY" in caplog.text
