"""The samplers that a name and perhaps a number describe, which is nearly all that are used.

`config` reads these and every other description. Its models need pydantic, which takes longer to import than all else
that tracing needs, so that the common ones are made here; whatever is the least unusual, mistakes included, is left to
it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from kai_tracing_core.sampling.always import AlwaysOff, AlwaysOn
from kai_tracing_core.sampling.base import Sampler
from kai_tracing_core.sampling.parent_based import ParentBased

__all__ = ["create_plain"]


def create_plain(name: str, argument: str | None) -> Sampler | None:
    """The sampler of this name, following parents where that is the name's meaning; None where `config` is to say."""
    if name in _ALWAYS and not argument:
        return _ALWAYS[name]()
    make = _NUMBERED.get(name)
    if make is None or not argument:
        return None
    try:
        number = float(argument)
    except ValueError:
        return None
    return make(number) if math.isfinite(number) else None


def _ratio(number: float) -> Sampler | None:
    from kai_tracing_core.sampling.ratio import TraceIdRatio

    return TraceIdRatio(number) if 0 <= number <= 1 else None


def _consistent(number: float) -> Sampler | None:
    from kai_tracing_core.sampling.consistent_probability import ConsistentProbability

    return ParentBased(ConsistentProbability(number)) if 0 <= number <= 1 else None


def _rate_limiting(number: float) -> Sampler | None:
    from kai_tracing_core.sampling.rate_limiting import RateLimiting

    return ParentBased(RateLimiting(number)) if number >= 0 else None


def _adaptive(number: float) -> Sampler | None:
    from kai_tracing_core.sampling.adaptive import Adaptive

    return ParentBased(Adaptive(number)) if number > 0 else None


def _parentbased_ratio(number: float) -> Sampler | None:
    sampler = _ratio(number)
    return sampler and ParentBased(sampler)


_ALWAYS: Mapping[str, Callable[[], Sampler]] = {
    "always_on": AlwaysOn,
    "always_off": AlwaysOff,
    "parentbased_always_on": lambda: ParentBased(AlwaysOn()),
    "parentbased_always_off": lambda: ParentBased(AlwaysOff()),
}
_NUMBERED: Mapping[str, Callable[[float], Sampler | None]] = {
    "traceidratio": _ratio,
    "parentbased_traceidratio": _parentbased_ratio,
    "consistent_probability": _consistent,
    "ratio": _consistent,
    "rate_limiting": _rate_limiting,
    "adaptive": _adaptive,
}
