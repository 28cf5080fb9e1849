"""Sampling strategies served: from a file, by the traffic, and as real clients take them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kai_tracing_backend.app import Backend
from kai_tracing_backend.sampling.strategies import AdaptiveStrategies, StaticStrategies, create_strategies
from kai_tracing_backend.sampling.traffic import Traffic
from kai_tracing_backend.testing.store_contract import batch, span

from kai_tracing_core.errors import ConfigurationError
from kai_tracing_core.sampling.base import SamplingDecision, SamplingRequest
from kai_tracing_core.sampling.remote import OperationProbabilities, Remote, parse_strategy
from kai_tracing_core.span import SpanKind
from tests.support.backend import ask, running

JAEGERS_OWN = {  # the example of Jaeger's documentation
    "service_strategies": [
        {
            "service": "foo",
            "type": "probabilistic",
            "param": 0.8,
            "operation_strategies": [
                {"operation": "op1", "type": "probabilistic", "param": 0.2},
                {"operation": "op2", "type": "probabilistic", "param": 0.4},
            ],
        },
        {"service": "bar", "type": "ratelimiting", "param": 5},
    ],
    "default_strategy": {
        "type": "probabilistic",
        "param": 0.5,
        "operation_strategies": [
            {"operation": "/health", "type": "probabilistic", "param": 0.0},
            {"operation": "op1", "type": "probabilistic", "param": 0.7},
        ],
    },
}


def write(folder: Path, content: Any) -> Path:
    """The file with this in it."""
    path = folder / "strategies.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def chances(answer: dict[str, Any]) -> dict[str, float]:
    """The probabilities of the operations."""
    entries = answer["operationSampling"]["perOperationStrategies"]
    return {entry["operation"]: entry["probabilisticSampling"]["samplingRate"] for entry in entries}


# -- from a file -------------------------------------------------------------------------------------------------------


def test_the_file_of_jaeger_s_documentation(tmp_path: Path) -> None:
    """A service's operations win over the default's; each service gets its own or the default probability."""
    strategies = StaticStrategies(write(tmp_path, JAEGERS_OWN))
    foo = strategies.answer("default", "foo")
    assert foo["operationSampling"]["defaultSamplingProbability"] == 0.8
    assert chances(foo) == {"/health": 0.0, "op1": 0.2, "op2": 0.4}
    other = strategies.answer("default", "other")
    assert other["probabilisticSampling"] == {"samplingRate": 0.5}
    assert chances(other) == {"/health": 0.0, "op1": 0.7}
    bar = strategies.answer("default", "bar")
    assert bar["rateLimitingSampling"] == {"maxTracesPerSecond": 5}
    assert bar["operationSampling"]["defaultSamplingProbability"] == 0.5
    assert chances(bar) == chances(other)
    plain = StaticStrategies(
        write(tmp_path, {**JAEGERS_OWN, "default_strategy": {"type": "probabilistic", "param": 0.5}})
    )
    limit = {"strategyType": "RATE_LIMITING", "rateLimitingSampling": {"maxTracesPerSecond": 5}}
    assert plain.answer("default", "bar") == limit
    half = {"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": 0.5}}
    assert plain.answer("default", "other") == half


def test_a_changed_file_is_read_again_and_a_wrong_one_is_not_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the next question; a mistake is logged once with its place and the last good strategies stay."""
    now = [0.0]
    path = write(tmp_path, {"default_strategy": {"type": "probabilistic", "param": 0.5}})
    strategies = StaticStrategies(path, clock=lambda: now[0])

    def rate() -> float:
        now[0] += 2.0
        found: float = strategies.answer("default", "any")["probabilisticSampling"]["samplingRate"]
        return found

    assert rate() == 0.5
    write(tmp_path, {"default_strategy": {"type": "probabilistic", "param": 0.25}})
    os.utime(path, ns=(1, 1))
    assert rate() == 0.25
    write(tmp_path, {"default_strategy": {"type": "probabilistic", "param": 25}})
    assert [rate(), rate()] == [0.25, 0.25]
    assert caplog.text.count("the sampling strategies stay as they were") == 1
    assert f"{path}: .default_strategy: the param of a probabilistic strategy is between 0 and 1" in caplog.text
    path.unlink()
    assert rate() == 0.25
    write(tmp_path, {"default_strategy": {"type": "probabilistic", "param": 1}})
    assert rate() == 1.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "has no table in it"),
        ({"service_strategies": [{"service": "a", "type": "x", "param": 1}]}, ".service_strategies[0].type"),
        ({"service_strategies": [{"type": "ratelimiting", "param": 1}]}, ".service_strategies[0].service"),
        ({"default_strategy": {"type": "ratelimiting", "param": -1}}, ".default_strategy.param"),
    ],
)
def test_a_start_with_a_wrong_file_says_what_is_wrong(tmp_path: Path, content: Any, said: str) -> None:
    """The file and the field."""
    path = write(tmp_path, content)
    with pytest.raises(ConfigurationError) as raised:
        create_strategies(path, None)
    assert said in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_file_and_a_target_exclude_each_other(tmp_path: Path) -> None:
    """Both settings are named."""
    with pytest.raises(ConfigurationError, match="SAMPLING_STRATEGIES and TRACING_BACKEND_SAMPLING_TARGET"):
        create_strategies(write(tmp_path, {}), 1.0)


# -- by the traffic ----------------------------------------------------------------------------------------------------


def feed(traffic: Traffic, clock: list[float], seconds: int, *spans: Any) -> None:
    """These spans, every second."""
    for _ in range(seconds):
        clock[0] += 1.0
        traffic.observe(batch(*spans))


def test_probabilities_follow_what_arrives() -> None:
    """Target over rate, by adjusted counts, for root spans only; what is rare is kept whole, the unknown rarely."""
    now = [0.0]
    strategies = AdaptiveStrategies(2.0, clock=lambda: now[0])
    busy = span(1, 1, name="busy", service="shop", adjusted_count=100.0)
    rare = span(2, 1, name="rare", service="shop")
    called = span(3, 2, 1, name="called", service="shop", adjusted_count=1e6)
    feed(strategies.traffic("default"), now, 300, busy, rare, called)
    answer = strategies.answer("default", "shop")
    assert chances(answer) == {"busy": pytest.approx(0.02, rel=0.1), "rare": 1.0}
    assert answer["operationSampling"]["defaultSamplingProbability"] == 0.001
    assert 0 < answer["operationSampling"]["defaultLowerBoundTracesPerSecond"] <= 2.0
    assert chances(strategies.answer("default", "unknown")) == {}
    assert chances(strategies.answer("another tenant", "shop")) == {}
    feed(strategies.traffic("default"), now, 300, rare)
    assert chances(strategies.answer("default", "shop"))["busy"] == 1.0


def test_jaeger_s_clients_are_counted_by_their_tags() -> None:
    """A probability of 0.01 means a hundred; what the lower bound added is not counted a second time."""
    now = [0.0]
    traffic = Traffic(clock=lambda: now[0])
    tags = {"sampler.type": "probabilistic", "sampler.param": 0.01}
    lower = {"sampler.type": "lowerbound", "sampler.param": 0.01}
    spans = [span(1, 1, name="a", attributes=tags), span(2, 1, name="a", attributes=lower)]
    as_text = {"sampler.type": "probabilistic", "sampler.param": "0.5"}
    feed(traffic, now, 300, *spans, span(3, 1, name="b", attributes=as_text))
    assert traffic.rates("a") == {"a": pytest.approx(100, rel=0.1), "b": pytest.approx(2, rel=0.1)}


def test_the_loop_of_strategy_and_traffic_settles() -> None:
    """1,000 traces per second, sampled by what is served and counted by what arrives, come down to the target."""
    now = [0.0]
    strategies = AdaptiveStrategies(5.0, clock=lambda: now[0])
    chance = 0.001
    arrived = []
    for _ in range(20):  # polls, a minute apart
        for _ in range(60):
            now[0] += 1.0
            kept = batch(span(1, 1, name="op", service="s", adjusted_count=1 / chance))
            for _ in range(max(1, round(1_000 * chance))):
                strategies.traffic("t").observe(kept)
        arrived.append(1_000 * chance)
        chance = chances(strategies.answer("t", "s"))["op"]
    assert arrived[-5:] == [pytest.approx(5.0, rel=0.1)] * 5


def test_the_number_of_services_and_operations_is_bounded() -> None:
    """The first ones stay; after an hour the idle ones make room."""
    now = [0.0]
    traffic = Traffic(clock=lambda: now[0])
    traffic.observe(batch(*(span(1, n + 1, name=f"op{n}", service="s") for n in range(300))))
    assert len(traffic.rates("s")) == 200
    traffic.observe(batch(*(span(1, n + 1, name="op", service=f"s{n}") for n in range(600))))
    assert traffic.rates("s498")
    assert not traffic.rates("s599")
    now[0] = 4_000.0
    traffic.observe(batch(span(1, 1, name="op", service="s599")))
    assert traffic.rates("s599")
    assert not traffic.rates("s")


# -- served ------------------------------------------------------------------------------------------------------------


@contextmanager
def serving(folder: Path, **changes: Any) -> Iterator[Backend]:
    """A running backend."""
    with running(folder, **changes) as backend:
        yield backend


def test_one_service_is_asked_for(tmp_path: Path) -> None:
    """Without a setting everything is kept; a missing, empty or repeated service is 400; on 5778 and 14268."""
    with serving(tmp_path) as backend:
        agent, collector = backend.settings.sampling_port, backend.settings.jaeger_http_port
        for port, path in ((agent, "/sampling"), (agent, "/api/sampling"), (collector, "/api/sampling")):
            answer = ask(port, f"{path}?service=a%20b")
            assert answer.json == {"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": 1.0}}
            for wrong in ("", "?service=", "?service=a&service=b", "?services=a"):
                assert ask(port, path + wrong).status == 400


def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_core_s_remote_sampler_applies_what_is_served(tmp_path: Path) -> None:
    """It polls the file's strategies and follows a change of the file, and of the traffic in adaptive ones."""
    path = write(tmp_path, {"default_strategy": {"type": "probabilistic", "param": 0.0}})
    request = SamplingRequest(1, "op", SpanKind.SERVER, {}, None)
    with serving(tmp_path, sampling_strategies=path) as backend:
        sampler = Remote("shop", endpoint=f"http://127.0.0.1:{backend.settings.sampling_port}", interval=0.05)
        sampler.should_sample(request)
        assert sampler.wait_for_poll(1, 60)
        assert sampler.should_sample(request).decision is SamplingDecision.DROP
        write(tmp_path, {"default_strategy": {"type": "probabilistic", "param": 1.0}})
        until(lambda: sampler.should_sample(request).decision is SamplingDecision.RECORD_AND_SAMPLE)
        sampler.close()


def test_what_arrives_over_http_changes_what_is_served(tmp_path: Path) -> None:
    """Spans that stand for many lower the probability that the core's sampler is told."""
    now = time.time_ns()
    one = {"traceId": f"{1:032x}", "spanId": f"{1:016x}", "name": "op"}
    one |= {"startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 5)}
    one["attributes"] = [{"key": "sampling.adjusted_count", "value": {"doubleValue": 1e6}}]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    body = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [one]}]}]}).encode()
    with serving(tmp_path, sampling_target=1.0) as backend:
        assert ask(backend.settings.otlp_http_port, "/v1/traces", body).status == 200
        sampler = parse_strategy(ask(backend.settings.sampling_port, "/sampling?service=shop").body)
    assert isinstance(sampler, OperationProbabilities)
    assert sampler.probabilities == {"op": pytest.approx(1e-5, rel=1.0)}


def test_jaeger_s_client_applies_what_is_served(tmp_path: Path) -> None:
    """Its remote sampler polls the port and takes per-operation strategies, with the lower bound, and a rate limit."""
    pytest.importorskip("jaeger_client", reason="Jaeger's client comes with the Jaeger provider, not with the backend")
    from jaeger_client.local_agent_net import LocalAgentHTTP
    from jaeger_client.sampler import AdaptiveSampler, RateLimitingSampler, RemoteControlledSampler
    from tornado.ioloop import IOLoop

    path = write(
        tmp_path,
        {
            "service_strategies": [
                {
                    "service": "shop",
                    "type": "probabilistic",
                    "param": 0.25,
                    "operation_strategies": [{"operation": "GET /", "type": "probabilistic", "param": 1.0}],
                },
                {"service": "limited", "type": "ratelimiting", "param": 7},
            ]
        },
    )

    async def polled(service: str, kind: type) -> Any:
        channel = LocalAgentHTTP("127.0.0.1", backend.settings.sampling_port)
        channel.io_loop = IOLoop.current()
        logger = logging.getLogger("test")
        sampler = RemoteControlledSampler(channel, service, sampling_refresh_interval=0.05, logger=logger)
        try:
            for _ in range(1_200):
                if isinstance(sampler.sampler, kind):
                    return sampler.sampler
                await asyncio.sleep(0.05)
            raise AssertionError(sampler.sampler)
        finally:
            sampler.close()

    with serving(tmp_path, sampling_strategies=path) as backend:
        shop = asyncio.run(polled("shop", AdaptiveSampler))
        limited = asyncio.run(polled("limited", RateLimitingSampler))
    assert shop.samplers["GET /"].rate == 1.0
    assert shop.default_sampling_probability == 0.25
    assert limited.rate_limiter.credits_per_second == 7
