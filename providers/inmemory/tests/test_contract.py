"""The in-memory provider fulfils the contract, its spans read through its own queries."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from kai_tracing_inmemory import InMemoryProvider

from kai_tracing_core.provider import TracingProvider
from kai_tracing_core.span import Span
from kai_tracing_core.testing.contract import ProviderContract


class TestInMemoryProvider(ProviderContract):
    @pytest.fixture
    def provider(self) -> InMemoryProvider:
        return InMemoryProvider()

    def finished(self, provider: TracingProvider) -> Sequence[Span]:
        assert isinstance(provider, InMemoryProvider)
        return provider.spans
