from __future__ import annotations

from collections.abc import Iterator

import pytest
from kai_tracing_inmemory import InMemoryProvider

from kai_tracing_core import TracingService
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.testing.ids import FixedClock, FixedIds


@pytest.fixture
def clock() -> FixedClock:
    """A clock that stands until it is told to go on."""
    return FixedClock()


@pytest.fixture
def provider(clock: FixedClock) -> Iterator[InMemoryProvider]:
    """An in-memory provider with ids 1, 2, 3… and a fixed clock."""
    provider = InMemoryProvider(config=PipelineConfig(ids=FixedIds(), clock=clock))
    yield provider
    provider.shutdown(1)


@pytest.fixture
def service(provider: InMemoryProvider) -> TracingService:
    """A service over the in-memory provider."""
    return TracingService(provider)
