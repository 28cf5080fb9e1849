"""The built-in samplers as plugins: one function for every entry point in `kai_tracing.samplers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_tracing_core.sampling.plain import create_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from kai_tracing_core.sampling.base import Sampler
    from kai_tracing_core.settings import TracingSettings


__all__ = [
    "adaptive",
    "always_off",
    "always_on",
    "consistent_probability",
    "jaeger_remote",
    "parent_based",
    "parentbased_always_off",
    "parentbased_always_on",
    "parentbased_jaeger_remote",
    "parentbased_traceidratio",
    "rate_limiting",
    "ratio",
    "remote",
    "rules",
    "tail",
    "traceidratio",
]


def _built_in(name: str) -> Callable[[TracingSettings, str | None], Sampler]:
    """What makes the sampler of one name."""

    def make(settings: TracingSettings, argument: str | None) -> Sampler:
        """The sampler that the settings' table describes, or the short form of this name and argument."""
        plain = create_plain(name, argument) if isinstance(settings.sampler, str) else None
        if plain is not None:
            return plain
        from kai_tracing_core import plugins
        from kai_tracing_core.sampling.config import SamplerContext, create_sampler

        def other(name: str, argument: str | None) -> Sampler:
            return plugins.create_sampler(settings.replace(sampler=name, sampler_arg=argument), settings)

        context = SamplerContext(service_name=settings.service_name, plugin=other)
        if isinstance(settings.sampler, dict):
            return create_sampler(settings.sampler, context=context)
        return create_sampler(name, argument or "", context=context, where="TRACING_SAMPLER_ARG")

    return make


always_on = _built_in("always_on")
always_off = _built_in("always_off")
traceidratio = _built_in("traceidratio")
consistent_probability = _built_in("consistent_probability")
ratio = _built_in("ratio")
parent_based = _built_in("parent_based")
rate_limiting = _built_in("rate_limiting")
adaptive = _built_in("adaptive")
rules = _built_in("rules")
remote = _built_in("remote")
tail = _built_in("tail")
parentbased_always_on = _built_in("parentbased_always_on")
parentbased_always_off = _built_in("parentbased_always_off")
parentbased_traceidratio = _built_in("parentbased_traceidratio")
jaeger_remote = _built_in("jaeger_remote")
parentbased_jaeger_remote = _built_in("parentbased_jaeger_remote")
