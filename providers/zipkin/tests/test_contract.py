"""The contract that every provider fulfils."""

from __future__ import annotations

import pytest
from kai_tracing_zipkin import ZipkinProvider, ZipkinSettings

from kai_tracing_core.testing.contract import ProviderContract


class TestZipkinContract(ProviderContract):
    """With nobody listening, which is no reason for the application to notice anything."""

    @pytest.fixture
    def provider(self) -> ZipkinProvider:
        """A provider whose backend is down."""
        return ZipkinProvider(ZipkinSettings(endpoint="http://127.0.0.1:9/"))
