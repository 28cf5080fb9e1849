"""Strategies that a Jaeger agent or collector serves, fetched on a thread and applied live."""

from __future__ import annotations

import http.client
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat

from kai_tracing_core.sampling.base import Sampler, SamplingRequest, SamplingResult
from kai_tracing_core.sampling.consistent_probability import ConsistentProbability, sample_at
from kai_tracing_core.sampling.forking import after_fork
from kai_tracing_core.sampling.operations import OperationRates
from kai_tracing_core.sampling.rate_limiting import RateLimiting
from kai_tracing_core.sampling.threshold import threshold

__all__ = ["DEFAULT_ENDPOINT", "OperationProbabilities", "Remote", "parse_strategy"]

logger = logging.getLogger(__name__)

DEFAULT_ENDPOINT = "http://localhost:5778/sampling"

_MAX_ANSWER = 4 * 1024 * 1024
_MAX_BACK_OFF = 300.0
_JITTER = 0.1
_WINDOW = 10.0

Probability = Annotated[float, Field(ge=0, le=1)]


class OperationProbabilities(Sampler):
    """A probability for every operation, between bounds on its traces per second (Jaeger's `operationSampling`).

    The bounds raise and lower the probability, instead of adding traces to what it chose, so that the adjusted count
    stays right: an operation that comes less often than the lower bound is kept whole.
    """

    def __init__(
        self,
        probabilities: Mapping[str, float],
        *,
        default: float,
        lower_bound: float = 0.0,
        upper_bound: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.probabilities = dict(probabilities)
        self.default = default
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound
        for value in (default, *self.probabilities.values()):
            threshold(value)
        self._rates = OperationRates(clock, window=_WINDOW, limit=max(2000, 2 * len(self.probabilities)))

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """Keep with the operation's probability of this moment."""
        chance = self.probabilities.get(request.name, self.default)
        if self.lower_bound or self.upper_bound is not None:
            rate = self._rates.arrive(request.name)
            chance = max(chance, min(1.0, self.lower_bound / rate))
            if self.upper_bound is not None:
                chance = min(chance, self.upper_bound / rate)
        return sample_at(request, threshold(chance))

    @property
    def description(self) -> str:
        """`OperationProbabilities{12 operations, else 0.001}`."""
        return f"OperationProbabilities{{{len(self.probabilities)} operations, else {self.default:g}}}"


class _Answer(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)


class _Probabilistic(_Answer):
    samplingRate: Probability = 0.0


class _RateLimiting(_Answer):
    maxTracesPerSecond: NonNegativeFloat = 0.0


class _Operation(_Answer):
    operation: str
    probabilisticSampling: _Probabilistic


class _Operations(_Answer):
    defaultSamplingProbability: Probability = 0.0
    defaultLowerBoundTracesPerSecond: NonNegativeFloat = 0.0
    defaultUpperBoundTracesPerSecond: NonNegativeFloat = 0.0
    perOperationStrategies: list[_Operation] | None = None


class _Strategy(_Answer):
    operationSampling: _Operations | None = None
    rateLimitingSampling: _RateLimiting | None = None
    probabilisticSampling: _Probabilistic | None = None


def parse_strategy(answer: bytes | str) -> Sampler:
    """The sampler that an answer of Jaeger's sampling endpoint describes.

    `operationSampling` is looked at first and the `strategyType` not at all, as Jaeger's own clients do.

    Raises:
        ValueError: the answer is none that Jaeger gives; the message names the field.
    """
    strategy = _Strategy.model_validate_json(answer)
    if (operations := strategy.operationSampling) is not None:
        return OperationProbabilities(
            {
                entry.operation: entry.probabilisticSampling.samplingRate
                for entry in operations.perOperationStrategies or ()
            },
            default=operations.defaultSamplingProbability,
            lower_bound=operations.defaultLowerBoundTracesPerSecond,
            upper_bound=operations.defaultUpperBoundTracesPerSecond or None,
        )
    if strategy.rateLimitingSampling is not None:
        return RateLimiting(strategy.rateLimitingSampling.maxTracesPerSecond)
    if strategy.probabilisticSampling is not None:
        return ConsistentProbability(strategy.probabilisticSampling.samplingRate)
    raise ValueError("the answer has none of operationSampling, rateLimitingSampling, probabilisticSampling")


class Remote(Sampler):
    """Does what the strategy says that a Jaeger agent, collector or backend serves for this service.

    A daemon thread fetches it when the first trace starts and then every `interval` seconds, give or take a tenth;
    while the server does not answer, less and less often, up to every five minutes. Until there is an answer
    `initial` decides; the last good one stays in force while the server is away or talks nonsense.
    """

    def __init__(
        self,
        service_name: str,
        *,
        endpoint: str = DEFAULT_ENDPOINT,
        interval: float = 60.0,
        timeout: float = 5.0,
        initial: Sampler | None = None,
    ) -> None:
        """`endpoint` is a URL; one without a path gets `/sampling`. `interval` and `timeout` are in seconds."""
        if interval <= 0 or timeout <= 0:
            raise ValueError("interval and timeout must be positive")
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the endpoint must be an http or https URL")
        self.service_name = service_name
        self.interval = interval
        self.timeout = timeout
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        query = f"{parts.query}&" if parts.query else ""
        # As it is shown: without a user's name and password.
        self.endpoint = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/') or '/sampling'}"
        self._target = f"{parts.path.rstrip('/') or '/sampling'}?{query}service={quote(service_name, safe='')}"
        self._initial = initial or ConsistentProbability(0.001)
        self._sampler = self._initial
        self._strategy: bytes | None = None
        self.fetched = 0
        self.failures = 0
        self.last_error: str | None = None
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self._started = False
        after_fork(self)

    def after_fork(self) -> None:
        """Fetch on a thread of the child's own, when its first trace starts; the strategy stays."""
        closed = self._closed.is_set()
        self._closed = threading.Event()
        if closed:
            self._closed.set()
        self._changed = threading.Condition()
        self._started = False

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """What the strategy in force says."""
        if not self._started:
            self._start()
        return self._sampler.should_sample(request)

    def _start(self) -> None:
        self._started = True
        if self._closed.is_set():
            return
        try:
            threading.Thread(target=self._run, args=(self._closed,), name="kai-tracing-sampling", daemon=True).start()
        except RuntimeError as error:  # pragma: no cover - no thread can be started while the interpreter ends
            self.last_error = str(error)

    def _run(self, closed: threading.Event) -> None:
        wait = 0.0
        while not closed.wait(wait * random.uniform(1 - _JITTER, 1 + _JITTER)):
            try:
                self._apply(self._fetch())
            except Exception as error:
                self.failures += 1
                self.last_error = f"{self.endpoint}: {type(error).__name__}: {error}"
                if wait <= self.interval:
                    logger.warning("%s; the sampling strategy stays %s", self.last_error, self._sampler.description)
                wait = min(max(wait, self.interval) * 2, max(self.interval, _MAX_BACK_OFF))
            else:
                self.fetched += 1
                self.last_error = None
                wait = self.interval
            with self._changed:
                self._changed.notify_all()

    def _fetch(self) -> bytes:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self.timeout)
        try:
            connection.request("GET", self._target, headers={"Accept": "application/json"})
            response = connection.getresponse()
            body = response.read(_MAX_ANSWER + 1)
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise ValueError(f"answered {response.status}")
        if len(body) > _MAX_ANSWER:
            raise ValueError(f"answered more than {_MAX_ANSWER} bytes")
        return body

    def _apply(self, strategy: bytes) -> None:
        # The same answer again must not reset what the sampler has learnt of the traffic.
        if strategy != self._strategy:
            self._sampler = parse_strategy(strategy)
            self._strategy = strategy
            logger.info("sampling strategy: %s", self._sampler.description)

    def wait_for_poll(self, polls: int, timeout: float) -> bool:
        """Wait until the server was asked `polls` times in all; returns whether it was within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self.fetched + self.failures >= polls, timeout)

    def close(self) -> None:
        """Stop fetching; the strategy in force stays."""
        self._closed.set()

    @property
    def description(self) -> str:
        """`Remote{http://localhost:5778/sampling, now ConsistentProbability{0.5}}`."""
        return f"Remote{{{self.endpoint}, now {self._sampler.description}}}"
