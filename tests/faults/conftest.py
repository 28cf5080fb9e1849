"""Fixtures: every installed provider that sends over HTTP, with fast retries."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from kai_tracing_core import RecordingProvider
from kai_tracing_core.processing.batch import BatchOptions
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.retry import RetryPolicy
from tests.support.backends import HTTP_BACKENDS, Backend

MakeProvider = Callable[..., RecordingProvider]


@pytest.fixture(params=sorted(HTTP_BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    """One way to send spans over HTTP."""
    return HTTP_BACKENDS[request.param]


@pytest.fixture
def provider_for(backend: Backend) -> Iterator[MakeProvider]:
    """Make providers that send to a URL; they are shut down at the end."""
    providers: list[RecordingProvider] = []

    def make(
        url: str, retry: RetryPolicy | None = None, *, timeout: float = 20.0, max_queue: int = 2048
    ) -> RecordingProvider:
        retry = retry or RetryPolicy(initial=0.02, maximum=0.1)
        batch = BatchOptions(delay=3600, retry=retry, max_queue=max_queue)
        provider = backend(url, PipelineConfig(resource={"service.name": "faulty"}, batch=batch), timeout)
        providers.append(provider)
        return provider

    yield make
    for provider in providers:
        provider.shutdown(0.5)
