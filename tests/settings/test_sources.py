"""Where a value comes from, and which of several wins."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from kai_tracing_core import ConfigurationError, ProviderSettings, TracingSettings
from kai_tracing_core.settings import SecretStr, setting


class Shop(ProviderSettings):
    """A plugin's section with everything a section may have."""

    section: ClassVar[str] = "shop"
    otel_names: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "timeout": ("OTEL_SHOP_TIMEOUT", "OTEL_TIMEOUT"),
        "endpoint": ("OTEL_SHOP_ENDPOINT",),
    }

    endpoint: str = "http://localhost"
    timeout: float = setting(default=10.0, gt=0)
    names: tuple[str, ...] = ()
    headers: dict[str, str] = setting(default={})
    password: SecretStr | None = None
    hidden: str = setting(default="", secret=True)

    @classmethod
    def from_otel(cls, field: str, variable: str, text: str) -> object:
        return float(text) / 1000 if field == "timeout" else text


def _file(text: str) -> None:
    Path("tracing.toml").write_text(text)


def test_defaults() -> None:
    """With no source at all, tracing is on, does nothing, and every value says that it is a default."""
    settings = TracingSettings()
    assert (settings.enabled, settings.type, settings.service_name) == (True, "noop", "unknown_service")
    assert {value.source for value in settings.sources().values()} == {"default"}


def test_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keyword, environment, .env, OTEL_*, file, default: each gives way to the one before."""
    seen = [TracingSettings()]
    _file('service_name = "file"')
    seen.append(TracingSettings())
    monkeypatch.setenv("OTEL_SERVICE_NAME", "otel")
    seen.append(TracingSettings())
    Path(".env").write_text("TRACING_SERVICE_NAME=dotenv\n")
    seen.append(TracingSettings())
    monkeypatch.setenv("TRACING_SERVICE_NAME", "environment")
    seen.append(TracingSettings())
    seen.append(TracingSettings(service_name="keyword"))
    assert [settings.service_name for settings in seen] == [
        "unknown_service", "file", "otel", "dotenv", "environment", "keyword",
    ]  # fmt: skip
    assert [settings.sources()["service_name"].source for settings in seen] == [
        "default",
        str(Path.cwd() / "tracing.toml"),
        "environment variable OTEL_SERVICE_NAME",
        f"TRACING_SERVICE_NAME in {Path.cwd() / '.env'}",
        "environment variable TRACING_SERVICE_NAME",
        "keyword",
    ]


def test_precedence_in_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same holds for a plugin's section, field by field."""
    _file('[shop]\nendpoint = "http://file"\ntimeout = 1.5\nnames = ["a", "b"]')
    monkeypatch.setenv("OTEL_SHOP_TIMEOUT", "2500")
    settings = TracingSettings()
    assert settings.section(Shop) == Shop(endpoint="http://file", timeout=2.5, names=("a", "b"))
    monkeypatch.setenv("TRACING_SHOP__TIMEOUT", "3")
    settings = TracingSettings(shop={"endpoint": "http://keyword"})
    assert settings.section(Shop) == Shop(endpoint="http://keyword", timeout=3, names=("a", "b"))
    sources = {name: value.source for name, value in settings.sources().items() if name.startswith("shop.")}
    assert sources["shop.endpoint"] == "keyword"
    assert sources["shop.timeout"] == "environment variable TRACING_SHOP__TIMEOUT"
    assert sources["shop.password"] == "default"


def test_pyproject() -> None:
    """[tool.kai_tracing] is read where there is no tracing.toml; other projects' files are left alone."""
    Path("pyproject.toml").write_text('[tool.kai_tracing]\ntype = "zipkin"\n[tool.kai_tracing.batch]\ndelay = 2\n')
    assert (TracingSettings().type, TracingSettings().batch.delay) == ("zipkin", 2.0)
    _file('type = "jaeger"')
    assert (TracingSettings().type, TracingSettings().batch.delay) == ("jaeger", 5.0)
    Path("tracing.toml").unlink()
    Path("pyproject.toml").write_text("this is no TOML")
    assert TracingSettings().type == "noop"


@pytest.mark.parametrize(("name", "text"), [("tracing.toml", "type ="), ("pyproject.toml", "[tool.kai_tracing")])
def test_unreadable_file(name: str, text: str) -> None:
    """A file that cannot be read is an error that names it."""
    Path(name).write_text(text)
    with pytest.raises(ConfigurationError, match=f"{name} cannot be read"):
        TracingSettings()


def test_unreadable_dotenv() -> None:
    """So is a .env that is not text."""
    Path(".env").write_bytes(b"TRACING_TYPE=\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read"):
        TracingSettings()


def test_empty_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable counts as none, in every source of text."""
    monkeypatch.setenv("TRACING_TYPE", "")
    monkeypatch.setenv("OTEL_SERVICE_NAME", " ")
    Path(".env").write_text("TRACING_SERVICE_NAME=\n")
    settings = TracingSettings()
    assert (settings.type, settings.service_name) == ("noop", "unknown_service")


def test_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, booleans, lists and mappings as environment variables have them."""
    monkeypatch.setenv("tracing_enabled", "no")
    monkeypatch.setenv("TRACING_PROPAGATORS", "b3, tracecontext,")
    monkeypatch.setenv("TRACING_RESOURCE_ATTRIBUTES", "deployment.environment=a%2Cb, team = shop ")
    monkeypatch.setenv("TRACING_LIMITS__VALUE_LENGTH", "80")
    monkeypatch.setenv("TRACING_BATCH__RETRY__INITIAL", "0.25")
    monkeypatch.setenv("TRACING_SPOOL__DIRECTORY", "/var/spool/tracing")
    monkeypatch.setenv("TRACING_SHOP__HEADERS", "authorization=Bearer%20x=,b=1")
    settings = TracingSettings()
    assert settings.enabled is False
    assert settings.propagators == ("b3", "tracecontext")
    assert settings.resource_attributes == {"deployment.environment": "a,b", "team": "shop"}
    assert settings.limits.limits().value_length == 80
    assert settings.batch.options().retry.initial == 0.25
    assert settings.spool.directory == Path("/var/spool/tracing")
    assert settings.section(Shop).headers == {"authorization": "Bearer x=", "b": "1"}


def test_options_fit_what_they_become() -> None:
    """The models of batch and limits have the fields and defaults of what the core makes of them."""
    from kai_tracing_core.attributes import SpanLimits
    from kai_tracing_core.processing.batch import BatchOptions

    assert TracingSettings().batch.options() == BatchOptions()
    assert TracingSettings().limits.limits() == SpanLimits()
    options = BatchOptions(delay=1, max_batch=7)
    assert TracingSettings(batch=options).batch.options() == options


def test_resource_attributes_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resource attributes of all sources are merged, the more important source winning per key."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "a=otel,b=otel,service.name=otel")
    monkeypatch.setenv("TRACING_RESOURCE_ATTRIBUTES", "b=env,c=env")
    settings = TracingSettings(resource_attributes={"c": "keyword"})
    assert settings.resource_attributes == {"a": "otel", "b": "env", "c": "keyword"}
    assert settings.service_name == "otel"
    assert "keyword + environment variable TRACING" in settings.describe("resource_attributes")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "named")
    assert TracingSettings().service_name == "named"


def test_replace(monkeypatch: pytest.MonkeyPatch) -> None:
    """`replace` puts keywords on top of what there was and leaves the rest, sections included."""
    monkeypatch.setenv("TRACING_SERVICE_NAME", "shop")
    before = TracingSettings(type="zipkin", batch={"delay": 1, "max_batch": 7}, shop={"timeout": 1})
    monkeypatch.delenv("TRACING_SERVICE_NAME")
    after = before.replace(batch={"delay": 2}, shop={"endpoint": "x"})
    assert (after.type, after.service_name, after.batch.delay, after.batch.max_batch) == ("zipkin", "shop", 2.0, 7)
    assert after.section(Shop) == Shop(timeout=1, endpoint="x")
    assert before.batch.delay == 1.0


def test_settings_do_not_change() -> None:
    """Settings are frozen."""
    with pytest.raises(ValueError, match="frozen"):
        TracingSettings().type = "zipkin"


def test_deleted_working_directory(directory: Path) -> None:
    """Where the working directory is gone there are no files, and no error."""
    gone = directory / "gone"
    gone.mkdir()
    import os

    os.chdir(gone)
    gone.rmdir()
    assert TracingSettings().type == "noop"
    os.chdir(directory)


class TestOtel:
    """`OTEL_*` variables mean what OpenTelemetry's specification says."""

    def test_names_and_units(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every variable arrives where it belongs, milliseconds as seconds."""
        for name, value in {
            "OTEL_SDK_DISABLED": "TRUE",
            "OTEL_TRACES_SAMPLER": "traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.5",
            "OTEL_PROPAGATORS": "b3,jaeger",
            "OTEL_BSP_SCHEDULE_DELAY": "250",
            "OTEL_BSP_EXPORT_TIMEOUT": "1500",
            "OTEL_BSP_MAX_QUEUE_SIZE": "100",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
            "OTEL_ATTRIBUTE_COUNT_LIMIT": "7",
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "8",
            "OTEL_SPAN_EVENT_COUNT_LIMIT": "9",
            "OTEL_SPAN_LINK_COUNT_LIMIT": "10",
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "11",
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "12",
        }.items():
            monkeypatch.setenv(name, value)
        settings = TracingSettings()
        assert settings.enabled is False
        assert (settings.sampler, settings.sampler_arg) == ("traceidratio", "0.5")
        assert settings.propagators == ("b3", "jaeger")
        batch = settings.batch
        assert (batch.max_queue, batch.max_batch, batch.delay, batch.export_timeout) == (100, 10, 0.25, 1.5)
        assert dict(settings.limits) == {
            "attributes": 8, "events": 9, "links": 10, "event_attributes": 11, "link_attributes": 7,
            "value_length": 12, "span_bytes": None,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("name", "value", "setting", "default"),
        [
            ("OTEL_SDK_DISABLED", "1", "enabled", True),
            ("OTEL_BSP_SCHEDULE_DELAY", "soon", "batch.delay", 5.0),
            ("OTEL_BSP_SCHEDULE_DELAY", "-1", "batch.delay", 5.0),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "2.5", "batch.max_queue", 2048),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "9999", "batch.max_batch", 512),
            ("OTEL_RESOURCE_ATTRIBUTES", "novalue", "resource_attributes", {}),
        ],
    )
    def test_bad_values_are_ignored(
        self,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        name: str,
        value: str,
        setting: str,
        default: object,
    ) -> None:
        """A bad value is warned about, by the variable's name, and ignored."""
        monkeypatch.setenv(name, value)
        with caplog.at_level(logging.WARNING):
            found = TracingSettings().sources()[setting]
        assert (found.value, found.source) == (default, "default")
        assert f"environment variable {name} = {value!r} is ignored" in caplog.text

    def test_bad_value_gives_way(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        """What is below a bad value comes into effect."""
        _file("[batch]\ndelay = 3")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "soon")
        assert TracingSettings().batch.delay == 3.0
        monkeypatch.setenv("OTEL_SHOP_TIMEOUT", "-5")
        assert TracingSettings().section(Shop).timeout == 10.0
        assert "OTEL_SHOP_TIMEOUT" in caplog.text

    def test_from_dotenv(self) -> None:
        """They may stand in .env, too."""
        Path(".env").write_text("OTEL_SERVICE_NAME=dotenv")
        assert TracingSettings().sources()["service_name"].source == f"OTEL_SERVICE_NAME in {Path.cwd() / '.env'}"


def test_a_section_that_takes_opentelemetrys_text_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a `from_otel` of its own a section has the variable's text converted by the field's type."""

    class Plain(ProviderSettings):
        section: ClassVar[str] = "plain"
        otel_names: ClassVar[Mapping[str, tuple[str, ...]]] = {"size": ("OTEL_PLAIN_SIZE",)}

        size: int = 1

    monkeypatch.setenv("OTEL_PLAIN_SIZE", "7")
    assert TracingSettings().section(Plain).size == 7
