from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from kai_tracing_inmemory import InMemoryProvider

from kai_tracing_core import TracingService, initialize_tracing
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.sampling.base import Sampler
from kai_tracing_core.sampling.consistent_probability import ConsistentProbability
from kai_tracing_core.sampling.parent_based import ParentBased
from kai_tracing_core.telemetry.contract import TelemetryService
from kai_tracing_core.telemetry.metrics import SpanMetrics
from kai_tracing_core.testing.ids import FixedClock

Measured = Callable[..., TracingService]
Initialized = Callable[..., TracingService]

TRACES = 1000


class EvenIds:
    """`TRACES` trace ids whose randomness is spread evenly, so that a sampler keeps exactly its share."""

    def __init__(self) -> None:
        numbers, spans = count(), count(1)
        self.trace_id = lambda: 1 << 100 | next(numbers) % TRACES * (1 << 56) // TRACES
        self.span_id = lambda: next(spans)


def one_in_ten() -> Sampler:
    """A sampler that keeps a tenth of all traces."""
    return ParentBased(ConsistentProbability(0.1))


@pytest.fixture
def clock() -> FixedClock:
    """A clock that stands until it is told to go on."""
    return FixedClock()


@pytest.fixture
def measured(clock: FixedClock) -> Iterator[Measured]:
    """Makes a tracing service whose spans the given telemetry services measure."""
    made: list[InMemoryProvider] = []

    def make(*services: TelemetryService, max_operations: int = 2000, **config: Any) -> TracingService:
        metrics = SpanMetrics(services, max_operations=max_operations)
        config = {"resource": {"service.name": "shop"}, "clock": clock, **config}
        provider = InMemoryProvider(config=PipelineConfig(processors=[metrics], **config))
        for service in services:
            service.observe_stats(provider.stats)
        made.append(provider)
        return TracingService(provider)

    yield make
    for provider in made:
        provider.shutdown(5)


@pytest.fixture
def initialized(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Initialized]:
    """Initialises a service of its own, with the in-memory provider unless told otherwise."""
    monkeypatch.chdir(tmp_path)
    made: list[TracingService] = []

    def make(**settings: Any) -> TracingService:
        service = settings.pop("service", None) or TracingService(auto=False)
        made.append(service)
        return initialize_tracing(service=service, **{"type": "inmemory", **settings})

    yield make
    for service in made:
        service.shutdown()
