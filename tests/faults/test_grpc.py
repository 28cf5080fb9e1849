"""The OpenTelemetry provider over gRPC, against a collector that is down, slow, failing or none at all, and forked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from time import monotonic

import grpc
import pytest
from kai_tracing_opentelemetry import OpenTelemetryProvider, OpenTelemetrySettings

from kai_tracing_core import RecordingProvider
from kai_tracing_core.processing.batch import BatchOptions
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.retry import RetryPolicy
from tests.faults.test_http import COUNT, GENEROUS, trace
from tests.faults.test_processes import ROOT
from tests.support.backend import free_ports
from tests.support.grpc_collector import GrpcCollector, serving
from tests.support.server import Answer, FaultServer

Make = Callable[..., RecordingProvider]
Code = grpc.StatusCode


@pytest.fixture
def provider_for() -> Iterator[Make]:
    """Make providers that send to a URL over gRPC; they are shut down at the end."""
    providers: list[RecordingProvider] = []

    def make(url: str, *, timeout: float = GENEROUS, max_elapsed: float = 60.0) -> RecordingProvider:
        settings = OpenTelemetrySettings(endpoint=url, protocol="grpc", timeout=timeout)
        retry = RetryPolicy(initial=0.02, maximum=0.1, max_elapsed=max_elapsed)
        config = PipelineConfig(batch=BatchOptions(delay=3600, retry=retry))
        providers.append(OpenTelemetryProvider(settings, config=config, set_global=False))
        return providers[-1]

    yield make
    for provider in providers:
        provider.shutdown(0.5)


def assert_all_delivered(collector: GrpcCollector, provider: RecordingProvider, ids: set[str]) -> None:
    """The collector took each span once, and the provider knows."""
    assert collector.ids() == dict.fromkeys(ids, 1)
    stats = provider.stats()
    assert (stats.exported, stats.queued, dict(stats.dropped)) == (len(ids), 0, {})


@pytest.mark.parametrize(
    "failures",
    [
        pytest.param([], id="healthy"),
        pytest.param([(Code.UNAVAILABLE, None)] * 2, id="unavailable"),
        pytest.param([(Code.RESOURCE_EXHAUSTED, 0.0), (Code.UNAVAILABLE, 0.01)], id="retry-info"),
        pytest.param([(code, None) for code in (Code.ABORTED, Code.CANCELLED, Code.DATA_LOSS)], id="others"),
    ],
)
def test_a_passing_fault_costs_no_span(provider_for: Make, failures: list[tuple[Code, float | None]]) -> None:
    """Fifty spans arrive, each once, although the first requests fail in this way."""
    with serving() as collector:
        collector.failures = list(failures)
        provider = provider_for(collector.url)
        ids = trace(provider)
        assert provider.flush(GENEROUS)
        assert_all_delivered(collector, provider, ids)
        assert provider.stats().retries == len(failures)


def test_a_refusal_is_final_and_counted(provider_for: Make) -> None:
    """What the collector calls invalid is not sent again."""
    with serving() as collector:
        collector.failures = [(Code.INVALID_ARGUMENT, None)]
        provider = provider_for(collector.url)
        trace(provider)
        assert provider.flush(GENEROUS)
        assert dict(provider.stats().dropped) == {"grpc_invalid_argument": COUNT}
        assert len(collector.metadata) == 1


def test_a_collector_that_comes_back_gets_what_was_kept(provider_for: Make) -> None:
    """While nobody listens the spans are kept; the channel finds a collector that starts later."""
    (port,) = free_ports(1)
    provider = provider_for(f"http://127.0.0.1:{port}")
    ids = trace(provider)
    assert not provider.flush(0.3)
    with serving(port) as collector:
        assert provider.flush(GENEROUS)
        assert_all_delivered(collector, provider, ids)


def test_a_hanging_collector_blocks_nobody(provider_for: Make) -> None:
    """Spans go on, and a flush returns within its time-out."""
    with serving() as collector:
        collector.hanging = True
        provider = provider_for(collector.url)
        trace(provider)
        started = monotonic()
        assert not provider.flush(0.3)
        assert not provider.shutdown(0.3)
        assert monotonic() - started < GENEROUS


@pytest.mark.parametrize("action", ["reset", "rubbish", "answer"])
def test_what_speaks_no_grpc_loses_the_spans_and_says_so(provider_for: Make, action: str) -> None:
    """A server that resets, or speaks something else, costs the spans after the patience, counted, and nothing more."""
    with FaultServer(then=404 if action == "answer" else Answer(action=action)) as server:
        provider = provider_for(server.url, max_elapsed=0.3)
        trace(provider)
        assert provider.flush(GENEROUS)
        assert dict(provider.stats().dropped) == {"unreachable": COUNT}


def test_forks_of_a_busy_process() -> None:
    """Children forked while another thread traces and the channel is open deliver their own spans only."""
    with serving() as collector:
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.program", "fork"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "TRACING_OPENTELEMETRY__ENDPOINT": collector.url},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        received = collector.names()
        assert received.pop("thread") > 0
        assert received == {"parent": 5, **{f"child {number}": 5 for number in range(5)}}
        assert set(collector.ids().values()) == {1}
