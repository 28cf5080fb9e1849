"""Sampling strategies from one file, served by Jaeger and by the backend, and taken by the core's `remote` sampler.

What differs is `strategyType`: a number in Jaeger 2, a word in the backend as in Jaeger 1 and its clients. All of them
go by the strategy that is there.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from kai_tracing_core.sampling.base import SamplingRequest
from kai_tracing_core.sampling.remote import Remote
from kai_tracing_core.span import SpanKind
from tests.interop.servers import STRATEGIES, Jaeger
from tests.support.backend import running

SERVICES = [*(entry["service"] for entry in STRATEGIES["service_strategies"]), "somebody else"]


@pytest.fixture(scope="module")
def urls(jaeger: Jaeger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Where Jaeger serves its strategies, and where the backend serves the same."""
    with running(tmp_path_factory.mktemp("backend"), sampling_strategies=jaeger.strategies) as backend:
        yield f"http://127.0.0.1:{jaeger.port['sampling']}", f"http://127.0.0.1:{backend.settings.sampling_port}"


def ask(url: str, query: str) -> tuple[int, Any]:
    """The status, and the strategy where there is one."""
    try:
        with urllib.request.urlopen(f"{url}/sampling{query}", timeout=60) as answer:
            return answer.status, evened(json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


def evened(strategy: Any) -> Any:
    """A strategy without its type and without what is 0 or null, which Go may leave out; operations in one order."""
    if isinstance(strategy, dict):
        found = {key: evened(value) for key, value in strategy.items() if key != "strategyType"}
        return {key: value for key, value in found.items() if value not in (None, 0, {})}
    if isinstance(strategy, list):
        return sorted(map(evened, strategy), key=json.dumps)
    return strategy


@pytest.mark.parametrize("service", SERVICES)
def test_the_strategies_are_the_same(urls: tuple[str, str], service: str) -> None:
    """A probability, a rate limit, probabilities by operation, and the default for a service that is not named."""
    theirs, ours = (ask(url, f"?service={service.replace(' ', '+')}") for url in urls)
    assert theirs[0] == 200
    assert ours == theirs


@pytest.mark.parametrize("query", ["", "?service=a&service=b"])
def test_refusals_have_the_same_status(urls: tuple[str, str], query: str) -> None:
    """No service, and two."""
    theirs, ours = (ask(url, query) for url in urls)
    assert ours == theirs == (400, None)


@pytest.mark.parametrize("service", SERVICES)
def test_the_remote_sampler_takes_them(urls: tuple[str, str], service: str) -> None:
    """The same sampler comes of what either serves, and decides the same of the same traces."""
    decisions = []
    for url in urls:
        with closing(Remote(service, endpoint=url)) as sampler:
            request = SamplingRequest(1, "GET /", SpanKind.SERVER, {}, None)
            sampler.should_sample(request)
            assert sampler.wait_for_poll(1, 60)
            assert sampler.last_error is None
            kept = [
                sampler.should_sample(
                    SamplingRequest((number * 2**41) % 2**56, name, SpanKind.SERVER, {}, None)
                ).decision
                for number in range(64)
                for name in ("GET /", "/health")
            ]
            decisions.append((sampler.description.partition(", now ")[2], kept))
    assert decisions[0] == decisions[1]
    assert "0.001" not in decisions[0][0], "the strategy from before the first answer"
