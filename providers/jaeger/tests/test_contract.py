"""The contract that every provider fulfils."""

from __future__ import annotations

import pytest
from kai_tracing_jaeger import JaegerProvider, JaegerSettings

from kai_tracing_core.testing.contract import ProviderContract


class TestJaegerContract(ProviderContract):
    """With nobody listening, which is no reason for the application to notice anything."""

    @pytest.fixture
    def provider(self) -> JaegerProvider:
        """A provider whose backend is down."""
        return JaegerProvider(JaegerSettings(endpoint="http://127.0.0.1:9/"))


class TestJaegerAgentContract(ProviderContract):
    """The same over UDP."""

    @pytest.fixture
    def provider(self) -> JaegerProvider:
        """A provider whose agent is down."""
        return JaegerProvider(JaegerSettings(protocol="agent", agent_host="127.0.0.1", agent_port=9))
