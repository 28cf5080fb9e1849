"""Tail policies as data: tables for the settings file, `error,latency=p95,probability=0.1` for the environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, model_validator
from typing_extensions import Self

from kai_tracing_core.sampling.config_base import Chance, SamplerContext, Table, parse_number
from kai_tracing_core.sampling.tail_policies import (
    And,
    AttributeMatch,
    HasError,
    Latency,
    Not,
    Or,
    Probability,
    Rate,
    SlowestShare,
    TailPolicy,
)

__all__ = ["DEFAULT_POLICIES", "AnyPolicy", "parse_policies"]

DEFAULT_POLICIES = "error,latency=p95,probability=0.1"


class _Error(Table):
    type: Literal["error"]

    def create(self, context: SamplerContext) -> TailPolicy:
        """The policy."""
        return HasError()


class _Latency(Table):
    type: Literal["latency"]
    threshold: PositiveFloat | None = None
    percentile: Annotated[float, Field(gt=0, lt=100)] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.threshold is None) == (self.percentile is None):
            raise ValueError("either threshold (seconds) or percentile is needed")
        return self

    def create(self, context: SamplerContext) -> TailPolicy:
        """The policy."""
        if self.threshold is not None:
            return Latency(self.threshold)
        return SlowestShare(self.percentile or 0.0, **context.timed())


class _Attribute(Table):
    type: Literal["attribute"]
    key: str
    value: str | bool | int | float = "*"

    def create(self, context: SamplerContext) -> TailPolicy:
        """The policy."""
        return AttributeMatch(self.key, self.value)


class _Probability(Table):
    type: Literal["probability"]
    probability: Chance

    def create(self, context: SamplerContext) -> TailPolicy:
        """The policy."""
        return Probability(self.probability)


class _Rate(Table):
    type: Literal["rate"]
    rate: PositiveFloat

    def create(self, context: SamplerContext) -> TailPolicy:
        """The policy."""
        return Rate(self.rate, **context.timed())


class _Several(Table):
    type: Literal["and", "or"]
    policies: Annotated[list[AnyPolicy], Field(min_length=1)]

    def create(self, context: SamplerContext) -> TailPolicy:
        """The policy."""
        policies = [policy.create(context) for policy in self.policies]
        return And(*policies) if self.type == "and" else Or(*policies)


class _Not(Table):
    type: Literal["not"]
    policy: AnyPolicy

    def create(self, context: SamplerContext) -> TailPolicy:
        """The policy."""
        return Not(self.policy.create(context))


def _from_latency(text: str) -> dict[str, Any]:
    if text.startswith("p"):
        return {"percentile": parse_number(text[1:])}
    return {"threshold": parse_number(text)}


_SHORT: dict[str, Callable[[str], dict[str, Any]]] = {
    "error": lambda _: {},
    "latency": _from_latency,
    "rate": lambda text: {"rate": parse_number(text)},
    "probability": lambda text: {"probability": parse_number(text)},
}


def _from_short(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    name, _, argument = value.strip().partition("=")
    if name not in _SHORT:
        raise ValueError(f"{name!r} is none of {', '.join(_SHORT)}")
    return {"type": name, **_SHORT[name](argument)}


def parse_policies(text: str) -> list[str]:
    """The policies of a short form, each still short."""
    return [part for part in text.split(",") if part.strip()]


AnyPolicy = Annotated[
    Annotated[
        _Error | _Latency | _Attribute | _Probability | _Rate | _Several | _Not,
        Field(discriminator="type"),
    ],
    BeforeValidator(_from_short),
]

_Several.model_rebuild()
_Not.model_rebuild()
