"""The provider keeps the contract of every provider."""

from __future__ import annotations

import pytest
from kai_tracing_opentelemetry import OpenTelemetryProvider, OpenTelemetrySettings

from kai_tracing_core.testing.contract import ProviderContract

NOWHERE = "http://127.0.0.1:9"


class TestOpenTelemetryProvider(ProviderContract):
    """OTLP over HTTP, to a port where nobody listens."""

    @pytest.fixture
    def provider(self) -> OpenTelemetryProvider:
        """A provider ready for use."""
        return OpenTelemetryProvider(OpenTelemetrySettings(endpoint=NOWHERE))
