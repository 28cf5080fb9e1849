"""Jaeger's remote sampling against a real HTTP server."""

from __future__ import annotations

import logging
import os
from typing import Any

import pytest

from kai_tracing_core.sampling.consistent_probability import ConsistentProbability
from kai_tracing_core.sampling.rate_limiting import RateLimiting
from kai_tracing_core.sampling.remote import OperationProbabilities, Remote, parse_strategy

from .asking import ask, keeps
from .serving import Server

_ALL = {"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": 1.0}}
_NONE = {"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": 0}}


def test_operation_sampling_goes_before_the_rest() -> None:
    """`operationSampling` is looked at first whatever the type says, as Jaeger's clients do."""
    sampler = parse_strategy(
        b"""{"strategyType": 1, "rateLimitingSampling": {"maxTracesPerSecond": 2},
        "operationSampling": {"defaultSamplingProbability": 0.5, "defaultLowerBoundTracesPerSecond": 0.1,
        "perOperationStrategies": [{"operation": "GET /", "probabilisticSampling": {"samplingRate": 0.25}}]}}"""
    )
    assert isinstance(sampler, OperationProbabilities)
    assert (sampler.probabilities, sampler.default, sampler.lower_bound) == ({"GET /": 0.25}, 0.5, 0.1)


def test_the_other_strategies() -> None:
    """A probability and a rate limit, with Go's `null`s around them."""
    probabilistic = parse_strategy(b'{"probabilisticSampling":{"samplingRate":0.5},"operationSampling":null}')
    assert isinstance(probabilistic, ConsistentProbability)
    assert probabilistic.probability == 0.5
    limiting = parse_strategy(b'{"strategyType":"RATE_LIMITING","rateLimitingSampling":{"maxTracesPerSecond":2}}')
    assert isinstance(limiting, RateLimiting)
    assert limiting.rate == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"[]", "object"),
        (b"no json", "JSON"),
        (b"{}", "none of"),
        (b'{"probabilisticSampling":{"samplingRate":2}}', "samplingRate"),
        (b'{"probabilisticSampling":{"samplingRate":"NaN"}}', "samplingRate"),
        (b'{"rateLimitingSampling":{"maxTracesPerSecond":-1}}', "maxTracesPerSecond"),
        (b'{"operationSampling":{"perOperationStrategies":[{"operation":"a"}]}}', "probabilisticSampling"),
    ],
)
def test_nonsense_is_refused_with_the_fields_name(answer: bytes, said: str) -> None:
    """What is no strategy raises a ValueError that names the field."""
    with pytest.raises(ValueError, match=said):
        parse_strategy(answer)


def test_the_strategy_is_fetched_for_the_service_and_applied_live() -> None:
    """The first trace starts the polling; a changed strategy is in force after the next poll."""
    strategy: dict[str, Any] = _ALL
    with Server(lambda *_: (200, strategy)) as server:
        sampler = Remote("shop & co", endpoint=server.url, interval=0.01, initial=ConsistentProbability(0.0))
        try:
            assert not server.requests
            ask(sampler)
            assert sampler.wait_for_poll(1, 10)
            assert keeps(ask(sampler))
            strategy = _NONE
            assert sampler.wait_for_poll(sampler.fetched + 2, 10)
            assert not keeps(ask(sampler))
        finally:
            sampler.close()
        assert server.requests[0] == ("GET", "/sampling?service=shop%20%26%20co", None)


def test_the_last_good_strategy_stays_while_the_server_fails(caplog: pytest.LogCaptureFixture) -> None:
    """Errors, nonsense and a missing server change nothing; one warning is logged, not one for every attempt."""
    answers = [(200, _ALL), (500, {}), (200, b"nonsense"), (404, {}), (503, {})]
    with Server(lambda *_: answers.pop(0) if len(answers) > 1 else answers[0]) as server:
        sampler = Remote("shop", endpoint=server.url, interval=0.01, initial=ConsistentProbability(0.0))
        with caplog.at_level(logging.WARNING):
            ask(sampler)
            assert sampler.wait_for_poll(4, 30)
        assert keeps(ask(sampler))
        assert sampler.fetched == 1
        assert sampler.failures >= 3
        assert sampler.last_error is not None
        assert len(caplog.records) == 1
    sampler.close()


def test_learnt_rates_survive_the_same_answer() -> None:
    """A poll that brings the same strategy again does not start a new bucket."""
    with Server(lambda *_: (200, {"rateLimitingSampling": {"maxTracesPerSecond": 1}})) as server:
        sampler = Remote("shop", endpoint=server.url, interval=0.01)
        ask(sampler)
        assert sampler.wait_for_poll(1, 10)
        bucket = sampler._sampler
        assert sampler.wait_for_poll(4, 10)
        assert sampler._sampler is bucket
        sampler.close()


def test_a_server_that_is_not_there_blocks_nobody() -> None:
    """With nobody listening the initial sampler decides, and closing does not wait for the server."""
    sampler = Remote("shop", endpoint="http://127.0.0.1:9", interval=0.01, initial=ConsistentProbability(1.0))
    assert keeps(ask(sampler))
    assert sampler.wait_for_poll(1, 10)
    assert keeps(ask(sampler))
    assert sampler.failures
    sampler.close()


def test_the_answer_is_bounded() -> None:
    """An endless answer is cut off and refused."""
    with Server(lambda *_: (200, b" " * (5 * 1024 * 1024))) as server:
        sampler = Remote("shop", endpoint=server.url, interval=60)
        ask(sampler)
        assert sampler.wait_for_poll(1, 10)
        assert "more than" in str(sampler.last_error)
        sampler.close()


def test_a_password_in_the_url_is_not_shown() -> None:
    """Descriptions and messages leave out who logs in; a URL of another scheme is refused."""
    sampler = Remote("shop", endpoint="http://user:secret@localhost:5778/sampling")
    assert "secret" not in sampler.description
    with pytest.raises(ValueError, match="http or https"):
        Remote("shop", endpoint="ftp://localhost")


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_polls_for_itself() -> None:
    """The child has the strategy, no thread of the parent's, and fetches the next one itself."""
    with Server(lambda *_: (200, _ALL)) as server:
        sampler = Remote("shop", endpoint=server.url, interval=60, initial=ConsistentProbability(0.0))
        ask(sampler)
        assert sampler.wait_for_poll(1, 10)
        child = os.fork()
        if not child:
            inherited = keeps(ask(sampler))
            os._exit(0 if inherited and sampler.wait_for_poll(2, 10) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(server.requests) == 2
        sampler.close()


def test_a_closed_one_stays_closed_in_a_forked_child() -> None:
    """A child of a process that has stopped sampling does not begin to poll."""
    with Server(lambda *_: (200, _ALL)) as server:
        sampler = Remote("shop", endpoint=server.url, interval=0.01, initial=ConsistentProbability(1.0))
        sampler.close()
        sampler.after_fork()
        assert keeps(ask(sampler))
        assert not sampler.wait_for_poll(1, 0.2)
        assert not server.requests
