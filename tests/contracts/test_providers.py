"""The contract suite over every provider that is installed, chosen by name as `TRACING_TYPE` chooses it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest

from kai_tracing_core import plugins
from kai_tracing_core.initializer import create
from kai_tracing_core.provider import RecordingProvider, TracingProvider
from kai_tracing_core.settings import TracingSettings
from kai_tracing_core.testing.contract import ProviderContract, needs

NOBODY = {"endpoint": "http://127.0.0.1:9/"}
"""A section for what sends spans somewhere: the discard port, where nobody listens."""

SECTIONS: dict[str, dict[str, Any]] = {"opentelemetry": NOBODY, "zipkin": NOBODY, "jaeger": NOBODY}
BATCH = {"delay": 0.05, "export_timeout": 0.2, "exit_timeout": 0.1, "retry": {"max_elapsed": 0.2}}
EXPECTED = {"inmemory", "jaeger", "noop", "opentelemetry", "zipkin"}


@pytest.fixture(scope="module", autouse=True)
def scanned_once() -> Iterator[None]:
    """Looks through what is installed once, not three times for each of several hundred tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "find", functools.cache(plugins.find))
        yield


def make(name: str) -> TracingProvider:
    """The provider of this name, sending to where nobody listens, with short time-outs."""
    sections = {name: SECTIONS[name]} if name in SECTIONS else {}
    return create(TracingSettings(type=name, service_name="contract", batch=BATCH, **sections))


def contract_of(name: str) -> type[ProviderContract]:
    """The contract's test class for the provider of this name."""

    def provider(self: ProviderContract) -> TracingProvider:
        return make(name)

    return type(
        f"Test{name.title()}",
        (ProviderContract,),
        {"__module__": __name__, "records": name != "noop", "provider": pytest.fixture(provider)},
    )


for _name in plugins.names("providers"):
    globals()[f"Test{_name.title()}"] = contract_of(_name)


def test_every_provider_of_the_project_is_installed() -> None:
    """A provider that is not installed would be left out silently."""
    assert set(plugins.names("providers")) >= EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_its_name_is_that_of_its_entry_point(name: str) -> None:
    """What `TRACING_TYPE` says is what the provider calls itself, and its service is the configured one."""
    provider = make(name)
    assert provider.name == name
    if isinstance(provider, RecordingProvider):
        assert provider.pipeline.resource["service.name"] == "contract"
    provider.shutdown(0.1)


# -- the guard of the suite itself -------------------------------------------------------------------------------------


class _Deleted(contract_of("inmemory")):  # made by a function
    test_a_span_ends_once = None


class _Overridden(contract_of("inmemory")):  # made by a function
    def test_a_span_ends_once(self) -> None:
        """Pretends."""


class _Skipped(contract_of("inmemory")):  # made by a function
    pytestmark = pytest.mark.skip  # what nobody should do


@pytest.mark.parametrize("silenced", [_Deleted, _Overridden, _Skipped])
def test_silencing_a_contract_test_is_found(silenced: type[ProviderContract]) -> None:
    """A subclass that deletes, overrides or skips a contract test fails the suite."""
    with pytest.raises(AssertionError, match=r"contract tests"):
        silenced().test_no_contract_test_is_silenced()


def test_a_denied_capability_leaves_its_tests_out() -> None:
    """What a provider cannot do is not collected, and the tests that it cannot do it are; the guard is content."""
    recording, silent = contract_of("inmemory"), contract_of("noop")
    assert callable(recording.test_a_span_ends_once)
    assert recording.test_nothing_is_recorded is None
    assert silent.test_a_span_ends_once is None
    assert callable(silent.test_nothing_is_recorded)
    silent().test_no_contract_test_is_silenced()
    recording().test_no_contract_test_is_silenced()


def test_a_test_says_what_it_needs() -> None:
    """`needs` marks a test with the capabilities it depends on."""

    @needs("records")
    @needs("w3c", False)
    def test() -> None: ...

    assert vars(test)["needs"] == {"w3c": False, "records": True}
