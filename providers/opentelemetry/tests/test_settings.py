"""The settings, and the variables of OTLP's environment, mean what the specification says."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from kai_tracing_opentelemetry import OpenTelemetryProvider, OpenTelemetrySettings
from kai_tracing_opentelemetry.settings import Compression, Protocol

from kai_tracing_core.errors import ConfigurationError
from kai_tracing_core.settings import TracingSettings


@pytest.fixture
def section(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """The section, as these variables describe it."""
    monkeypatch.chdir(tmp_path)

    def read(**variables: str) -> OpenTelemetrySettings:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return TracingSettings().section(OpenTelemetrySettings)

    return read


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, "http://localhost:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1"}, "http://a:1/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://a/base/"}, "https://a/base/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a:1/mine"}, "http://a:1/mine"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b"}, "http://b"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "TRACING_OPENTELEMETRY__ENDPOINT": "http://b"},
            "http://b/v1/traces",
        ),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http://localhost:4317"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "a:1"}, "a:1"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "http://localhost:4318/v1/traces"),
    ],
)
def test_endpoint(section: Any, variables: dict[str, str], url: str) -> None:
    """The path is appended to the base, the endpoint for traces is used as it is and goes first."""
    assert section(**variables).url == url


def test_the_other_variables(section: Any) -> None:
    """Those for traces go before the general ones; headers are percent-decoded."""
    settings = section(
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="http/json",
        OTEL_EXPORTER_OTLP_HEADERS="X-Key=a%20b%2Cc, other=x=y",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_EXPORTER_OTLP_CERTIFICATE="ca.pem",
        OTEL_EXPORTER_OTLP_CLIENT_KEY="key.pem",
        OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE="client.pem",
    )
    assert (settings.protocol, settings.compression) == (Protocol.HTTP_JSON, Compression.GZIP)
    assert settings.headers == {"x-key": "a b,c", "other": "x=y"}
    options = settings.http_options()
    assert (options.ca_file, options.client_key_file, options.client_cert_file) == ("ca.pem", "key.pem", "client.pem")
    assert options.gzip


@pytest.mark.parametrize(("text", "seconds"), [("3", 3.0), ("2500", 2.5)])
def test_timeout(section: Any, text: str, seconds: float) -> None:
    """Seconds as OpenTelemetry's exporters for Python read it, milliseconds as the specification says."""
    assert section(OTEL_EXPORTER_OTLP_TIMEOUT=text).timeout == seconds


@pytest.mark.parametrize("name", ["PROTOCOL", "COMPRESSION", "TIMEOUT"])
def test_a_bad_value_of_opentelemetrys_is_ignored(section: Any, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A warning, and the default."""
    assert section(**{f"OTEL_EXPORTER_OTLP_{name}": "nonsense"}) == OpenTelemetrySettings()
    assert f"OTEL_EXPORTER_OTLP_{name}" in caplog.text


def test_a_header_without_a_value_is_a_mistake(section: Any) -> None:
    """`Authorization: Bearer …` is what people try; the error says how a header is written."""
    with pytest.raises(ConfigurationError, match=r"TRACING_OPENTELEMETRY__HEADERS.*key=value"):
        section(TRACING_OPENTELEMETRY__HEADERS="Authorization: Bearer secret")


def test_an_endpoint_that_is_no_address_of_http(section: Any) -> None:
    """The error names the variable and what is wrong."""
    with pytest.raises(ConfigurationError, match=r"TRACING_OPENTELEMETRY__ENDPOINT.*neither http nor https"):
        section(TRACING_OPENTELEMETRY__ENDPOINT="ftp://collector:4318")


def test_secrets_are_not_shown() -> None:
    """Headers, which carry keys, are left out of the repr."""
    assert "secret" not in repr(OpenTelemetrySettings(headers={"x-key": "secret"}))


def test_grpc_without_grpcio_says_what_to_install() -> None:
    """The error names the extra and the way without it."""
    program = """
import sys
sys.modules["grpc"] = None
from kai_tracing_opentelemetry import OpenTelemetryProvider, OpenTelemetrySettings
try:
    OpenTelemetryProvider(OpenTelemetrySettings(protocol="grpc"))
except ImportError as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "kai-tracing-opentelemetry[grpc]" in said
    assert "http/protobuf" in said


@pytest.mark.parametrize("protocol", [Protocol.GRPC, Protocol.HTTP_PROTOBUF])
def test_a_missing_certificate_is_loud(protocol: Protocol) -> None:
    """A file that is not there stops the start-up."""
    settings = OpenTelemetrySettings(protocol=protocol, endpoint="https://a:1", certificate="/nowhere.pem")
    with pytest.raises(FileNotFoundError):
        OpenTelemetryProvider(settings)
