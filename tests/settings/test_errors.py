"""What a wrong setting is told: which, from where, what value, and the way out."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kai_tracing_core import ConfigurationError, TracingSettings
from tests.settings.test_sources import Shop


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("TRACING_TYP", "zipkin", "Did you mean TRACING_TYPE?"),
        ("TRACING_SAMPLE_ARG", "1", "Did you mean TRACING_SAMPLER_ARG?"),
        ("TRACING_BATCH__DELAYS", "1", "Did you mean TRACING_BATCH__DELAY?"),
        ("TRACING_BACTH__DELAY", "1", "Did you mean TRACING_BATCH__DELAY?"),
        ("TRACING_BATCH_DELAY", "1", "Did you mean TRACING_BATCH__DELAY?"),
        ("TRACING_ENDPOINT", "x", "It is the provider's, as in TRACING_ZIPKIN__ENDPOINT."),
        ("TRACING_ZIPKIN_ENDPOINT", "x", "Did you mean TRACING_ZIPKIN__ENDPOINT, with two underscores?"),
    ],
)
def test_typo(monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str) -> None:
    """A variable that is not known is an error that names the nearest one."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        TracingSettings()
    assert f"environment variable {name} is not a setting that there is. {expected}" in str(caught.value)


def test_typo_elsewhere() -> None:
    """So it is in the file, in .env, among keywords, and in a section that is asked for."""
    with pytest.raises(ConfigurationError, match=r"typ \(keyword\) is not .* Did you mean type\?"):
        TracingSettings(typ="zipkin")
    with pytest.raises(ConfigurationError, match=r"shop\.timeuot \(keyword\) is not .* Did you mean shop\.timeout\?"):
        TracingSettings(shop={"timeuot": 1}).section(Shop)
    Path(".env").write_text("TRACING_TYP=zipkin")
    with pytest.raises(ConfigurationError, match=r"TRACING_TYP in .*\.env is not .* Did you mean TRACING_TYPE\?"):
        TracingSettings()
    Path(".env").unlink()
    Path("tracing.toml").write_text("[batch]\ndely = 1")
    with pytest.raises(
        ConfigurationError, match=r"batch\.dely \(.*tracing\.toml\) is not .* Did you mean batch\.delay\?"
    ):
        TracingSettings()


def test_other_sections(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The section of a provider that is not chosen or not installed is no error; one that looks like a typo warns."""
    monkeypatch.setenv("TRACING_ZIPKIN__ENDPIONT", "x")
    monkeypatch.setenv("TRACING_TEMPO__URL", "x")
    with caplog.at_level(logging.WARNING):
        TracingSettings()
    assert not caplog.text
    monkeypatch.setenv("TRACING_ZIPKN__ENDPOINT", "x")
    TracingSettings()
    assert "TRACING_ZIPKN__ENDPOINT: no plugin 'zipkn' is installed. Did you mean zipkin?" in caplog.text


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"batch": {"delay": "soon"}}, "batch.delay = 'soon' (keyword): input should be a valid number"),
        ({"batch": {"max_queue": 0}}, "batch.max_queue = 0 (keyword): input should be greater than 0"),
        ({"batch": {"max_batch": 5000}}, "max_batch (5000) is more than max_queue (2048) ever holds"),
        ({"batch": 3}, "batch (keyword) is a section, of batch.max_queue, "),
        ({"resource_attributes": "x"}, "should look like key=value"),
        ({"propagators": 3}, "propagators = 3 (keyword)"),
        ({"type": ""}, "type = '' (keyword)"),
    ],
)
def test_bad_value(keywords: dict[str, Any], expected: str) -> None:
    """A bad value: the setting, the value, where it came from, what it should be."""
    with pytest.raises(ConfigurationError) as caught:
        TracingSettings(**keywords)
    assert expected in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_bad_values_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is wrong is said at once, one line each, with the default that removing it would leave."""
    monkeypatch.setenv("TRACING_BATCH__DELAY", "x")
    monkeypatch.setenv("TRACING_ENABLED", "perhaps")
    with pytest.raises(ConfigurationError) as caught:
        TracingSettings()
    first, second = str(caught.value).splitlines()
    assert first.startswith(
        "enabled = 'perhaps' (environment variable TRACING_ENABLED): input should be a valid boolean"
    )
    assert first.endswith("Correct it or remove it, which leaves the default True.")
    assert second.endswith("Correct it or remove it, which leaves the default 5.0.")


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """No message and no repr shows a password, a header's value, or what a URL hides."""
    secrets = {"password": "pw-1", "headers": {"x-key": "pw-2"}, "hidden": "pw-3", "endpoint": "http://u:pw-4@host/"}
    settings = TracingSettings(shop=secrets)
    section = settings.section(Shop)
    assert section.password is not None
    assert section.password.get_secret_value() == "pw-1"
    assert "pw-" not in f"{section!r} {section} {settings!r}"
    assert "http://[REDACTED]@host/" in repr(section)
    for setting, bad in (("password", 1), ("headers", {"x": ["pw-5"]}), ("headers", "pw-6"), ("hidden", ["pw-7"])):
        with pytest.raises(ConfigurationError) as caught:
            TracingSettings(shop={setting: bad}).section(Shop)
        assert f"shop.{setting} = " in str(caught.value)
        assert "pw-" not in str(caught.value)


def test_a_program_is_told() -> None:
    """An application with a wrong setting ends at its first use of tracing, with that message as the last line."""
    done = subprocess.run(
        [sys.executable, "-c", "from kai_tracing_core import tracing; tracing.span('x')"],
        env={"TRACING_TYPE": "noop", "TRACING_SERVICENAME": "shop"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "kai_tracing_core.errors.ConfigurationError: environment variable TRACING_SERVICENAME is not a setting that "
        "there is. Did you mean TRACING_SERVICE_NAME? Correct or remove it."
    )
