"""From settings to a running service."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kai_tracing_core import ConfigurationError, TracingService, TracingSettings, initialize_tracing, tracing
from kai_tracing_core.provider import RecordingProvider


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def service() -> Iterator[TracingService]:
    """A service to initialise."""
    service = TracingService(auto=False)
    yield service
    service.shutdown()


def _config(service: TracingService) -> RecordingProvider:
    provider = service.provider
    assert isinstance(provider, RecordingProvider)
    return provider


def test_everything_arrives(service: TracingService) -> None:
    """Resource, sampler, limits and batch are those of the settings."""
    initialize_tracing(
        type="inmemory",
        service_name="shop",
        resource_attributes={"deployment.environment.name": "test"},
        sampler="always_off",
        limits={"attributes": 3},
        batch={"delay": 1},
        baggage_allowed_hosts=["*.internal"],
        service=service,
    )
    config = _config(service).config
    assert config.resource["service.name"] == "shop"
    assert config.resource["deployment.environment.name"] == "test"
    assert config.resource["telemetry.sdk.name"] == "kai-tracing"
    assert config.sampler.description == "AlwaysOff"
    assert (config.limits.attributes, config.batch.delay) == (3, 1.0)
    assert service.baggage_hosts.baggage_allowed("db.internal")
    assert not service.baggage_hosts.baggage_allowed("example.com")


def test_again(service: TracingService) -> None:
    """Called again, the provider before is shut down with its spans delivered, and the new one takes over."""
    assert initialize_tracing(type="inmemory", service=service) is service
    before = service.provider
    service.span("one").end()
    initialize_tracing(type="inmemory", service=service)
    assert service.provider is not before
    assert before.stats().exported == 1


def test_settings_and_overrides(service: TracingService) -> None:
    """Keywords go before what the given settings say."""
    initialize_tracing(TracingSettings(type="noop", service_name="shop"), type="inmemory", service=service)
    assert _config(service).config.resource["service.name"] == "shop"


def test_disabled_and_enabled_later(service: TracingService) -> None:
    """With `enabled=False` nothing is recorded until `enable`, which then has everything it needs."""
    initialize_tracing(type="inmemory", enabled=False, service=service)
    service.span("unseen").end()
    service.enable()
    service.span("seen").end()
    assert service.stats().ended == 1


def test_default_service() -> None:
    """Without a service given it is the default one."""
    before = dict(vars(tracing))
    try:
        assert initialize_tracing(type="inmemory") is tracing
        assert tracing.provider.name == "inmemory"
    finally:
        tracing.shutdown()
        vars(tracing).clear()
        vars(tracing).update(before)


def test_redaction_is_on(service: TracingService) -> None:
    """Secrets are redacted unless that is turned off; patterns add to it."""
    attributes = {"http.request.header.authorization": "Bearer x", "note": "code 4711", "plain": "x"}
    initialize_tracing(type="inmemory", redaction={"patterns": [r"\d{4}"]}, service=service)
    with service.span("private", attributes=attributes) as span:
        pass
    assert span.attributes["http.request.header.authorization"] == "[REDACTED]"
    assert span.attributes["note"] == "code [REDACTED]"
    initialize_tracing(type="inmemory", redaction={"enabled": False}, service=service)
    with service.span("open", attributes=attributes) as span:
        pass
    assert span.attributes == attributes
    with pytest.raises(ConfigurationError, match=r"TRACING_REDACTION__PATTERNS.*is not a regular expression"):
        initialize_tracing(type="inmemory", redaction={"patterns": ["("]}, service=service)


def test_span_bytes(service: TracingService) -> None:
    """A limit on a span's size is kept."""
    initialize_tracing(type="inmemory", limits={"span_bytes": 200}, service=service)
    with service.span("large", attributes={"a": "x" * 1000, "b": "y"}) as span:
        pass
    assert span.attributes == {"b": "y"}


def test_baggage_attributes(service: TracingService) -> None:
    """Baggage that is allowed becomes attributes."""
    initialize_tracing(type="inmemory", baggage_attributes="tenant.*", service=service)
    context = service.extract_context({"baggage": "tenant.id=7,other=8"})
    with service.use_context(context), service.span("work") as span:
        pass
    assert span.attributes == {"tenant.id": "7"}


def _python(source: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", source],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ready_without_a_call() -> None:
    """The default service configures itself from the environment, once, however many threads come first."""
    source = """
from concurrent.futures import ThreadPoolExecutor
from kai_tracing_core import tracing
with ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda number: tracing.span(str(number)).end(), range(100)))
print(tracing.provider.name, tracing.stats().ended)
"""
    assert _python(source, TRACING_TYPE="inmemory") == "inmemory 100\n"


def test_import_is_light() -> None:
    """Importing the package, and using it with a provider made by hand, imports no settings and no command line."""
    source = """
import sys
from kai_tracing_core import TracingService, tracing
from kai_tracing_core.noop import NoopProvider
TracingService(NoopProvider()).span("x").end()
from kai_tracing_inmemory import InMemoryProvider
TracingService(InMemoryProvider()).span("x").end()
print([name for name in ("pydantic", "dotenv", "click", "rich", "pluggy") if name in sys.modules])
"""
    assert _python(source) == "[]\n"


def test_settings_import_no_command_line() -> None:
    """Initialising from the environment imports neither click nor rich."""
    source = """
import sys
from kai_tracing_core import tracing
tracing.span("x").end()
print([name for name in ("dotenv", "click", "rich") if name in sys.modules])
"""
    assert _python(source, TRACING_TYPE="inmemory") == "[]\n"
