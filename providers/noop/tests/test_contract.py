"""The no-op provider fulfils the contract of one that records nothing."""

from __future__ import annotations

import pytest
from kai_tracing_noop import NoopProvider

from kai_tracing_core.testing.contract import ProviderContract


class TestNoopProvider(ProviderContract):
    records = False

    @pytest.fixture
    def provider(self) -> NoopProvider:
        return NoopProvider()
