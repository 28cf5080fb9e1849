"""The backend's settings: where they come from, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from kai_tracing_backend.cli.serve import serve
from kai_tracing_backend.settings import BackendSettings, option, variable

from kai_tracing_core import TracingSettings
from kai_tracing_core.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)


def test_the_first_source_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keyword, variable, `.env`, file, default."""
    (tmp_path / "tracing.toml").write_text("[backend]\napi_port = 1\notlp-http-port = 1\nzipkin_port = 1\nhost = '::1'")
    (tmp_path / ".env").write_text("TRACING_BACKEND_API_PORT=2\nTRACING_BACKEND_OTLP_HTTP_PORT=2\nTRACING_TYPE=x")
    monkeypatch.setenv("TRACING_BACKEND_API_PORT", "3")
    monkeypatch.setenv("TRACING_BACKEND_OTLP_HTTP_PORT", "3")
    settings = BackendSettings(api_port=4)
    assert (settings.api_port, settings.otlp_http_port, settings.zipkin_port) == (4, 3, 1)
    assert (settings.host, settings.memory_limit) == ("::1", "1GB")


@pytest.mark.parametrize(
    ("file", "environ", "keywords", "message"),
    [
        ("", {"TRACING_BACKEND_DTA": "x"}, {}, "TRACING_BACKEND_DTA is not a setting that there is. Did you mean"),
        ("[backend]\nhots = '::1'", {}, {}, r"hots in .*tracing.toml is not .* mean TRACING_BACKEND_HOST\?"),
        ("", {"TRACING_BACKEND_API_PORT": "http"}, {}, "TRACING_BACKEND_API_PORT.*should be a valid integer"),
        ("", {}, {"api_port": 70_000}, "--api-port, TRACING_BACKEND_API_PORT.*less than or equal to 65535"),
        ("[backend]\nmemory_limit = 'lots'", {}, {}, "memory_limit in .*tracing.toml"),
    ],
)
def test_what_is_wrong_is_named(
    file: str, environ: dict[str, str], keywords: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown name says the nearest, a bad value where it is written and what it may be."""
    Path("tracing.toml").write_text(file)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=message):
        BackendSettings(**keywords)


def test_variables_of_the_backend_disturb_no_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where both run with the same environment, nor those of the commands disturb the backend."""
    for name in (*map(variable, BackendSettings.declared), "TRACING_BACKEND_NONE"):
        monkeypatch.setenv(name, "x")
    assert TracingSettings(type="noop").type == "noop"
    for name in (*map(variable, BackendSettings.declared), "TRACING_BACKEND_NONE"):
        monkeypatch.delenv(name)
    for name in ("URL", "TOKEN", "CA"):
        monkeypatch.setenv(f"TRACING_BACKEND_{name}", "x")
    BackendSettings()


def test_everything_is_described_and_an_option() -> None:
    """Every setting says what it means and can be given to `serve`; every port says whose it is."""
    assert [name for name, field in BackendSettings.declared.items() if not field.description] == []
    assert [name for name in BackendSettings.ports() if not BackendSettings.declared[name].title] == []
    shown = CliRunner().invoke(serve, ["--help"], terminal_width=200).output
    assert [name for name in BackendSettings.declared if option(name) not in shown] == []
