"""Finding, choosing and loading plugins: what is asked for is imported, and what is wrong is named."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import types
from collections.abc import Iterator
from importlib.metadata import DistributionFinder, PathDistribution, entry_points
from pathlib import Path
from typing import Any

import pytest

from kai_tracing_core import (
    ConfigurationError,
    RecordingProvider,
    Span,
    TracingProvider,
    TracingService,
    TracingSettings,
    hookimpl,
    initialize_tracing,
    plugins,
    register_plugin,
)
from kai_tracing_core.discovery import installed
from kai_tracing_core.noop import NoopProvider
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.propagation.base import Propagator
from kai_tracing_core.propagation.composite import CompositePropagator
from kai_tracing_core.propagation.w3c import TraceContextPropagator
from kai_tracing_core.sampling.always import AlwaysOff, AlwaysOn
from kai_tracing_core.sampling.base import Sampler
from tests.support.distributions import add_distribution


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No settings from outside, and nothing registered afterwards."""
    monkeypatch.chdir(tmp_path)
    before = dict(plugins._registered)
    yield
    plugins._registered.clear()
    plugins._registered.update(before)


@pytest.fixture
def service() -> Iterator[TracingService]:
    """A service to initialise."""
    service = TracingService(auto=False)
    yield service
    service.shutdown()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on `sys.path` to install made-up distributions into."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


class TestChoosing:
    """The name of the entry point is what the settings say."""

    def test_only_the_chosen_one_is_imported(self, site: Path, service: TracingService) -> None:
        """A provider that is installed but not chosen is not imported."""
        modules = {
            name: f"""
            from kai_tracing_core.noop import NoopProvider
            class Provider(NoopProvider):
                name = "{name}"
            """
            for name in ("made_up_chosen", "made_up_other")
        }
        points = {"chosen": "made_up_chosen:Provider", "other": "made_up_other:Provider"}
        add_distribution(site, "made-up", {"kai_tracing.providers": points}, modules=modules)
        initialize_tracing(type="chosen", service=service)
        assert service.provider.name == "made_up_chosen"
        assert "made_up_other" not in sys.modules

    def test_listed_with_distribution(self, site: Path) -> None:
        """`find` names the distribution and its version without importing."""
        add_distribution(site, "made-up", {"kai_tracing.providers": {"listed": "not_there"}})
        (found,) = [plugin for plugin in plugins.find("providers") if plugin.name == "listed"]
        assert str(found) == "provider 'listed' of made-up 1.0"

    def test_installed_twice(self, site: Path) -> None:
        """A name that two distributions have is an error that names both, once it is chosen."""
        for name in ("first-owner", "second-owner"):
            add_distribution(site, name, {"kai_tracing.providers": {"twice": "not_there"}})
        with pytest.raises(ConfigurationError, match=r"installed twice, by first-owner 1\.0 and second-owner 1\.0"):
            initialize_tracing(type="twice", service=TracingService(auto=False))

    def test_not_installed(self) -> None:
        """What is not installed: what is, and the nearest of it."""
        with pytest.raises(ConfigurationError) as caught:
            initialize_tracing(type="in_memory", service=TracingService(auto=False))
        assert str(caught.value).startswith(
            "TRACING_TYPE = 'in_memory' (keyword): no provider 'in_memory' is installed. Did you mean inmemory? "
            "Installed: inmemory, "
        )
        with pytest.raises(ConfigurationError, match=r"no provider 'OTLP' .* Did you mean opentelemetry\?"):
            initialize_tracing(type="OTLP", service=TracingService(auto=False))
        with pytest.raises(ConfigurationError, match="no sampler 'half' is installed"):
            initialize_tracing(type="inmemory", sampler="half", service=TracingService(auto=False))
        with pytest.raises(ConfigurationError, match=r"no propagation format 'b33' .* Did you mean b3\?"):
            initialize_tracing(type="inmemory", propagators=["b33"], service=TracingService(auto=False))

    def test_failed_initialisation_changes_nothing(self, service: TracingService) -> None:
        """The service keeps its provider when a new one cannot be made."""
        initialize_tracing(type="inmemory", service=service)
        provider = service.provider
        with pytest.raises(ConfigurationError):
            initialize_tracing(type="no such", service=service)
        assert service.provider is provider
        service.span("still recorded").end()
        assert provider.stats().ended == 1


class TestLoading:
    """An entry point may name a class, or something with hooks."""

    def test_classes(self, service: TracingService) -> None:
        """A provider class is made by `from_settings`, a sampler with its argument, a format with nothing."""
        arguments: list[tuple[str, ...]] = []

        class Choosy(AlwaysOn):
            def __init__(self, *given: str) -> None:
                arguments.append(given)

        class Format(TraceContextPropagator):
            pass

        inmemory = plugins.choose("providers", "inmemory", "").load()
        register_plugin(inmemory, name="own", kind="providers")
        register_plugin(Choosy, name="choosy", kind="samplers")
        register_plugin(Format, name="own_format", kind="propagators")
        for argument in (None, "7"):
            initialize_tracing(
                type="own", sampler="choosy", sampler_arg=argument, propagators=["own_format"], service=service
            )
        assert arguments == [(), ("7",)]
        provider = service.provider
        assert isinstance(provider, RecordingProvider)
        assert type(provider.propagator) is Format

    def test_hooks(self, service: TracingService) -> None:
        """The hooks get what the settings say."""

        class Plugin:
            @hookimpl
            def kai_tracing_create_provider(
                self, settings: TracingSettings, config: PipelineConfig, propagator: Propagator | None
            ) -> TracingProvider:
                assert config.resource["service.name"] == settings.service_name == "shop"
                assert propagator is None
                return NoopProvider()

            @hookimpl
            def kai_tracing_create_sampler(self, argument: str | None) -> Sampler:
                assert argument == "1"
                return AlwaysOff()

        for kind in ("providers", "samplers"):
            register_plugin(Plugin(), name="own", kind=kind)
        initialize_tracing(type="own", sampler="own", sampler_arg="1", service_name="shop", service=service)
        assert isinstance(service.provider, NoopProvider)

    def test_import_fails(self, site: Path) -> None:
        """A chosen provider that cannot be imported: an error with the distribution and the cause."""
        points = {"kai_tracing.providers": {"bad": "made_up_bad"}}
        add_distribution(site, "made-up", points, modules={"made_up_bad": "1 / 0"})
        with pytest.raises(ConfigurationError) as caught:
            initialize_tracing(type="bad", service=TracingService(auto=False))
        assert "the provider 'bad' of made-up 1.0 cannot be imported: ZeroDivisionError" in str(caught.value)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)

    def test_mistyped_hook(self) -> None:
        """A hook that there is not: an error with the plugin, the hook, and the nearest that there is."""
        module = types.ModuleType("mistyped")

        @hookimpl
        def kai_tracing_creat_provider() -> None: ...

        vars(module)["kai_tracing_creat_provider"] = kai_tracing_creat_provider
        register_plugin(module, name="mistyped", kind="providers")
        with pytest.raises(ConfigurationError) as caught:
            initialize_tracing(type="mistyped", service=TracingService(auto=False))
        assert "provider 'mistyped' (registered by the application)" in str(caught.value)
        assert "kai_tracing_creat_provider" in str(caught.value)
        assert "Did you mean kai_tracing_create_provider?" in str(caught.value)

    def test_wrong_argument_of_hook(self) -> None:
        """A hook with an argument that there is not is such an error, too."""

        class Plugin:
            @hookimpl
            def kai_tracing_create_provider(self, setings: object) -> None: ...

        register_plugin(Plugin(), name="wrong", kind="providers")
        with pytest.raises(ConfigurationError, match=r"provider 'wrong'.*setings"):
            initialize_tracing(type="wrong", service=TracingService(auto=False))

    @pytest.mark.parametrize("plugin", [object(), str, NoopProvider(), AlwaysOn])
    def test_no_provider(self, plugin: object) -> None:
        """What is no provider and makes none is refused, saying what is expected."""
        register_plugin(plugin, name="none", kind="providers")
        with pytest.raises(ConfigurationError, match="must name a TracingProvider class, or something with the hook"):
            initialize_tracing(type="none", service=TracingService(auto=False))

    def test_provider_that_cannot_start(self) -> None:
        """What a provider raises while it is made is an error that names it."""

        class Failing(NoopProvider):
            def __init__(self, propagator: Propagator | None = None) -> None:
                raise OSError("no such device")

        register_plugin(Failing, name="failing", kind="providers")
        with pytest.raises(
            ConfigurationError, match=r"provider 'failing'.* cannot be started: OSError: no such device"
        ):
            initialize_tracing(type="failing", service=TracingService(auto=False))

    def test_function(self, service: TracingService) -> None:
        """A function is called with those of the hook's arguments that it names."""

        def sampler(argument: str | None) -> Sampler:
            assert argument == "1"
            return AlwaysOff()

        def provider() -> TracingProvider:
            return NoopProvider()

        register_plugin(provider, name="own", kind="providers")
        register_plugin(sampler, name="own", kind="samplers")
        initialize_tracing(type="own", service=service)
        assert isinstance(service.provider, NoopProvider)
        initialize_tracing(type="inmemory", sampler="own", sampler_arg="1", service=service)
        assert isinstance(service.provider, RecordingProvider)
        assert isinstance(service.provider.config.sampler, AlwaysOff)

    def test_unknown_sampler_in_another(self) -> None:
        """A sampler inside another that there is not: the error shows what the user wrote."""
        with pytest.raises(ConfigurationError, match=r"SAMPLER_ARG = 'GET=always_of' .*Did you mean always_off\?"):
            initialize_tracing(
                type="inmemory", sampler="rules", sampler_arg="GET=always_of", service=TracingService(auto=False)
            )

    def test_bad_sampler_argument(self) -> None:
        """What a sampler says about its argument is told with both settings."""
        with pytest.raises(ConfigurationError, match="TRACING_SAMPLER_ARG"):
            initialize_tracing(type="inmemory", sampler="ratio", sampler_arg="much", service=TracingService(auto=False))


class TestPropagators:
    """TRACING_PROPAGATORS, OTEL_PROPAGATORS, and neither."""

    def _made(self, service: TracingService, **overrides: object) -> Propagator:
        provider = initialize_tracing(type="inmemory", service=service, **overrides).provider
        assert isinstance(provider, RecordingProvider)
        return provider.propagator

    def test_several(self, service: TracingService) -> None:
        """They are written in their order."""
        fields = self._made(service, propagators="b3,tracecontext").fields
        assert [name for name in fields if name in {"b3", "traceparent"}] == ["b3", "traceparent"]

    @pytest.mark.parametrize("name", ["TRACING_PROPAGATORS", "OTEL_PROPAGATORS"])
    def test_none(self, service: TracingService, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """`none` reads and writes nothing."""
        monkeypatch.setenv(name, "none")
        made = self._made(service)
        assert isinstance(made, CompositePropagator)
        assert made.propagators == ()

    def test_unknown_to_opentelemetry(
        self, service: TracingService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A name in OTEL_PROPAGATORS that is not installed is warned about and left out."""
        monkeypatch.setenv("OTEL_PROPAGATORS", "ottrace,tracecontext")
        assert type(self._made(service)) is TraceContextPropagator
        assert "OTEL_PROPAGATORS: 'ottrace' is ignored" in caplog.text


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({"OTEL_TRACES_SAMPLER": "xray"}, "OTEL_TRACES_SAMPLER"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "7"}, "OTEL_TRACES_SAMPLER_ARG"),
    ],
)
def test_bad_otel_sampler(
    service: TracingService,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    environ: dict[str, str],
    variable: str,
) -> None:
    """A bad OTEL_TRACES_SAMPLER or argument is warned about and ignored: everything is recorded."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    initialize_tracing(type="inmemory", service=service)
    service.span("recorded").end()
    assert service.stats().ended == 1
    assert f"environment variable {variable} is ignored" in caplog.text


class TestExtensions:
    """The plugins in `kai_tracing.plugins`, all of which are loaded."""

    def test_configure_and_span_hooks(self, service: TracingService) -> None:
        """They may change the configuration, and see every span start, about to end, and ended."""
        seen: list[tuple[str, str]] = []

        class Plugin:
            @hookimpl
            def kai_tracing_configure(self, config: PipelineConfig) -> None:
                config.resource = {**config.resource, "team": "shop"}

            @hookimpl
            def kai_tracing_span_started(self, span: Span) -> None:
                seen.append(("started", span.name))

            @hookimpl
            def kai_tracing_span_ending(self, span: Span) -> None:
                seen.append(("ending", span.name))
                span.set_attribute("late", True)

            @hookimpl
            def kai_tracing_span_ended(self, span: Span) -> None:
                seen.append(("ended", span.name))
                assert span.attributes["late"] is True

        register_plugin(Plugin(), name="watching")
        initialize_tracing(type="inmemory", service=service)
        with service.span("work") as span:
            pass
        assert seen == [("started", "work"), ("ending", "work"), ("ended", "work")]
        assert span.resource["team"] == "shop"

    def test_no_hook_costs_nothing(self, service: TracingService) -> None:
        """Where no plugin has a span hook there is no processor for it."""
        initialize_tracing(type="inmemory", redaction={"enabled": False}, service=service)
        provider = service.provider
        assert isinstance(provider, RecordingProvider)
        assert provider.pipeline.processors == ()

    def test_redact_hook(self, service: TracingService) -> None:
        """A plugin may replace values, after every other hook had its turn."""

        class Plugin:
            @hookimpl
            def kai_tracing_redact(self, key: str, value: object) -> object | None:
                return "***" if key == "customer.name" else None

            @hookimpl
            def kai_tracing_span_ending(self, span: Span) -> None:
                span.set_attribute("customer.name", "Ann")

        register_plugin(Plugin(), name="private")
        initialize_tracing(type="inmemory", service=service)
        with service.span("work", attributes={"customer.id": "7"}) as span:
            pass
        assert span.attributes == {"customer.id": "7", "customer.name": "***"}

    def test_one_that_raises(self, service: TracingService, caplog: pytest.LogCaptureFixture) -> None:
        """What one plugin raises is logged; the others have their turn."""
        configured: list[str] = []

        def plugin(name: str) -> object:
            class Plugin:
                @hookimpl
                def kai_tracing_configure(self) -> None:
                    configured.append(name)
                    if name == "b":
                        raise RuntimeError("not today")

            return Plugin()

        for name in "abc":
            register_plugin(plugin(name), name=name)
        initialize_tracing(type="inmemory", service=service)
        assert sorted(configured) == ["a", "b", "c"]
        assert "plugin 'b' (registered by the application): kai_tracing_configure raised" in caplog.text

    def test_same_name(self, site: Path, service: TracingService) -> None:
        """Nobody chooses these by name, so that two may have the same."""
        for name in ("one", "two"):
            points = {"kai_tracing.plugins": {"same": f"made_up_{name}"}}
            add_distribution(site, f"made-up-{name}", points, modules={f"made_up_{name}": ""})
        initialize_tracing(type="inmemory", service=service)
        assert {"made_up_one", "made_up_two"} <= set(sys.modules)

    def test_one_that_cannot_be_imported(
        self, site: Path, service: TracingService, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged with distribution and cause, and left out."""
        add_distribution(site, "made-up", {"kai_tracing.plugins": {"gone": "not_there_at_all"}})
        with caplog.at_level(logging.WARNING):
            initialize_tracing(type="inmemory", service=service)
        assert "the plugin 'gone' of made-up 1.0 cannot be imported: ModuleNotFoundError" in caplog.text

    def test_mistyped_hook(self) -> None:
        """A mistyped hook is an error, not a hook that is silently never called."""

        class Plugin:
            @hookimpl
            def kai_tracing_span_endet(self) -> None: ...

        register_plugin(Plugin(), name="mistyped")
        with pytest.raises(ConfigurationError, match=r"kai_tracing_span_endet.*Did you mean kai_tracing_span_ended\?"):
            initialize_tracing(type="inmemory", service=TracingService(auto=False))
        plugins.unregister_plugin("mistyped")
        service = initialize_tracing(type="inmemory", service=TracingService(auto=False))
        service.shutdown()


class TestDiscovery:
    """Entry points are read off directories, and asked of `importlib.metadata` where there is something else."""

    def test_zip_file(self, site: Path, monkeypatch: pytest.MonkeyPatch, service: TracingService) -> None:
        """A plugin in a zip file on `sys.path` is found, named and loaded."""
        modules = {"made_up_zipped": "from kai_tracing_core.noop import NoopProvider as Provider"}
        add_distribution(
            site, "made-up", {"kai_tracing.providers": {"zipped": "made_up_zipped:Provider"}}, modules=modules
        )
        archive = shutil.make_archive(str(site.parent / "archive"), "zip", site)
        shutil.rmtree(site)
        monkeypatch.syspath_prepend(archive)
        initialize_tracing(type="zipped", service=service)
        assert isinstance(service.provider, NoopProvider)
        assert str(plugins.choose("providers", "zipped", "")) == "provider 'zipped' of made-up 1.0"

    def test_finder_of_its_own(self, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """So is one that only an importer with a finder of its own knows; what both find is there once."""
        add_distribution(tmp_path / "elsewhere", "made-up", {"kai_tracing.providers": {"hidden": "made_up"}})

        class Finder(DistributionFinder):
            def find_distributions(self, context: Any = None) -> Any:
                return [PathDistribution(tmp_path / "elsewhere" / "made_up-1.0.dist-info")]

        assert "hidden" not in plugins.names("providers")
        monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
        assert plugins.names("providers").count("hidden") == 1
        assert [plugin.name for plugin in plugins.find("providers")].count("inmemory") == 1

    def test_agrees_with_the_standard_library(self) -> None:
        """What is installed here is found as `importlib.metadata` finds it."""
        for kind in plugins.KINDS:
            expected = {(point.name, point.value) for point in entry_points(group=f"kai_tracing.{kind}")}
            assert {(entry.name, entry.value) for entry in installed(kind)} == expected

    def test_twice_on_the_path(self, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of a distribution that is there twice the first one counts, as it does for imports; others may come later."""
        for place in (site, tmp_path / "other"):
            add_distribution(place, "made-up", {"kai_tracing.providers": {"twice": place.name}})
        monkeypatch.syspath_prepend(tmp_path / "other")
        (found,) = [plugin for plugin in plugins.find("providers") if plugin.name == "twice"]
        assert found.source.value == "other"
        add_distribution(tmp_path / "other", "made-up-later", {"kai_tracing.providers": {"later": "x"}})
        os.utime(tmp_path / "other", (1, 1))
        assert "later" in plugins.names("providers")


class TestNothingInstalled:
    """Where only the core is installed."""

    @pytest.fixture(autouse=True)
    def _core_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = plugins.installed
        monkeypatch.setattr(plugins, "installed", lambda kind: [] if kind == "providers" else found(kind))

    def test_noop_is_there(self) -> None:
        """The core brings the provider that does nothing."""
        assert plugins.names("providers") == ["noop"]

    @pytest.mark.parametrize("name", ["zipkin", "zipkn"])
    def test_what_to_install(self, name: str) -> None:
        """The name of a provider of this project, or one like it, is answered with the command."""
        with pytest.raises(ConfigurationError, match=r'pip install "kai-tracing-core\[zipkin\]"'):
            initialize_tracing(type=name, service=TracingService(auto=False))


def test_a_sampler_that_cannot_be_made() -> None:
    """Whatever it raises is an error that names the settings and the plugin."""

    class Failing(AlwaysOn):
        def __init__(self, argument: str) -> None:
            raise LookupError(f"no quota for {argument}")

    register_plugin(Failing, name="failing", kind="samplers")
    with pytest.raises(ConfigurationError, match=r"TRACING_SAMPLER_ARG = 'shop'.*'failing'.*no quota for shop"):
        initialize_tracing(type="inmemory", sampler="failing", sampler_arg="shop", service=TracingService(auto=False))
