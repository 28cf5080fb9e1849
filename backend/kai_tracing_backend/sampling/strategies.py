"""What senders are told when they ask how to sample: Jaeger's remote sampling strategies.

The answer is that of a Jaeger agent or collector (jaeger-idl, sampling.proto, in JSON). Clients look at
`operationSampling` first, then at the strategy of the service.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from kai_tracing_backend.sampling.tail_settings import read_table
from kai_tracing_backend.sampling.traffic import Traffic
from kai_tracing_core.errors import ConfigurationError
from kai_tracing_core.sampling.config import describe_mistakes

__all__ = ["AdaptiveStrategies", "Everything", "StaticStrategies", "Strategies", "create_strategies"]

logger = logging.getLogger(__name__)

_UNKNOWN = 0.001  # of an operation that nothing is known of, as Jaeger has it
_LOWER_BOUND = 1 / 60  # traces per second of an operation that are kept in any case
_RARELY = 1e-5
_LOOK = 1.0  # seconds between two looks at the file


class Strategies(ABC):
    """Says how to sample."""

    @abstractmethod
    def answer(self, tenant: str, service: str) -> dict[str, Any]:
        """The strategy for a service, as Jaeger's JSON has it."""

    def traffic(self, tenant: str) -> Traffic | None:
        """What is to be told of the tenant's spans; None where it makes no difference."""
        return None


class Everything(Strategies):
    """Keep every trace."""

    def answer(self, tenant: str, service: str) -> dict[str, Any]:
        """Probability 1."""
        return _probabilistic(1.0)


class AdaptiveStrategies(Strategies):
    """About `target` traces per second of every operation, by what arrives of it.

    An operation's probability is the target over its rate of the last minute, which the adjusted counts of its root
    spans give, never below 1 in 100,000. What nothing has arrived of yet is kept with 1 in 1,000, and every operation
    at least once a minute.
    """

    def __init__(self, target: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`target` is in traces per second."""
        self.target = target
        self._traffic: defaultdict[str, Traffic] = defaultdict(lambda: Traffic(clock=clock))

    def traffic(self, tenant: str) -> Traffic:
        """The tenant's rates."""
        return self._traffic[tenant]

    def answer(self, tenant: str, service: str) -> dict[str, Any]:
        """A probability for each operation that was seen, to two digits, so that it does not change all the time."""
        chances = {
            name: max(_RARELY, min(1.0, float(f"{self.target / max(rate, 1e-9):.2g}")))
            for name, rate in self._traffic[tenant].rates(service).items()
        }
        operations = _by_operation(_UNKNOWN, chances, min(self.target, _LOWER_BOUND))
        return {**_probabilistic(_UNKNOWN), "operationSampling": operations}


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)  # Jaeger ignores what it does not know


class _Strategy(_Model):
    type: Literal["probabilistic", "ratelimiting"]
    param: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        if self.type == "probabilistic" and self.param > 1:
            raise ValueError(f"the param of a probabilistic strategy is between 0 and 1, not {self.param:g}")
        return self


class _OperationStrategy(_Strategy):
    operation: str
    type: Literal["probabilistic"]


class _ServiceStrategy(_Strategy):
    operation_strategies: list[_OperationStrategy] = Field(default_factory=list)

    @property
    def answer(self) -> dict[str, Any]:
        """The strategy alone, as Jaeger's JSON has it."""
        if self.type == "probabilistic":
            return _probabilistic(self.param)
        rate = int(self.param) if self.param.is_integer() else self.param
        return {"strategyType": "RATE_LIMITING", "rateLimitingSampling": {"maxTracesPerSecond": rate}}

    @property
    def chances(self) -> dict[str, float]:
        return {strategy.operation: strategy.param for strategy in self.operation_strategies}


class _NamedStrategy(_ServiceStrategy):
    service: str


class _File(_Model):
    default_strategy: _ServiceStrategy = _ServiceStrategy(type="probabilistic", param=_UNKNOWN)
    service_strategies: list[_NamedStrategy] = Field(default_factory=list)


class StaticStrategies(Strategies):
    """The strategies of a file in Jaeger's format (`--sampling.strategies-file`), in JSON or YAML.

    It is read again when it has changed; one that is wrong is reported, and the last good one stays.

    Raises:
        ConfigurationError: the file is wrong from the beginning.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._state = self._stat()
        self._file = self._read()
        self._look_at = clock() + _LOOK

    def answer(self, tenant: str, service: str) -> dict[str, Any]:
        """The service's strategy, with the operations of the default where it does not say otherwise.

        As Jaeger has it, where there are any operations others get the service's probability; where that is limited
        by rate, the default's.
        """
        self._refresh()
        default = self._file.default_strategy
        found: _ServiceStrategy = next(
            (strategy for strategy in self._file.service_strategies if strategy.service == service), default
        )
        answer = found.answer
        if chances := {**default.chances, **found.chances}:
            rest = found if found.operation_strategies or found.type == "probabilistic" else default
            chance = rest.param if rest.type == "probabilistic" else _UNKNOWN
            answer["operationSampling"] = _by_operation(chance, chances, 0.0)
        return answer

    def _refresh(self) -> None:
        with self._lock:
            if self._clock() < self._look_at:
                return
            self._look_at = self._clock() + _LOOK
            if (state := self._stat()) == self._state:
                return
            self._state = state
            try:
                self._file = self._read()
            except ConfigurationError as error:
                logger.error("the sampling strategies stay as they were: %s", error)
            else:
                logger.info("sampling strategies: %s was read again", self.path)

    def _stat(self) -> tuple[int, ...] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> _File:
        table = read_table(self.path)
        try:
            return _File.model_validate(table)
        except ValidationError as error:
            raise ConfigurationError("\n".join(describe_mistakes(error, table, f"{self.path}: "))) from error


def create_strategies(file: Path | None, target: float | None) -> Strategies:
    """Those of the file, or adaptive ones, or to keep everything.

    Raises:
        ConfigurationError: both are given, or the file is wrong.
    """
    if file is not None and target is not None:
        raise ConfigurationError(
            "TRACING_BACKEND_SAMPLING_STRATEGIES and TRACING_BACKEND_SAMPLING_TARGET exclude each other: remove one"
        )
    if file is not None:
        return StaticStrategies(file)
    return AdaptiveStrategies(target) if target is not None else Everything()


def _probabilistic(chance: float) -> dict[str, Any]:
    return {"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": chance}}


def _by_operation(default: float, chances: dict[str, float], lower_bound: float) -> dict[str, Any]:
    operations = [
        {"operation": name, "probabilisticSampling": {"samplingRate": chance}} for name, chance in chances.items()
    ]
    return {
        "defaultSamplingProbability": default,
        "defaultLowerBoundTracesPerSecond": lower_bound,
        "perOperationStrategies": operations,
    }
