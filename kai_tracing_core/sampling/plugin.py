"""The built-in samplers as plugins: one object for every entry point in `kai_tracing.samplers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_tracing_core.sampling.plain import create_plain

if TYPE_CHECKING:
    from kai_tracing_core.sampling.base import Sampler
    from kai_tracing_core.settings import TracingSettings


class _BuiltIn:
    """Makes the sampler of one name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, settings: TracingSettings, argument: str | None) -> Sampler:
        """The sampler that the settings' table describes, or the short form of this name and argument."""
        plain = create_plain(self.name, argument) if isinstance(settings.sampler, str) else None
        if plain is not None:
            return plain
        from kai_tracing_core import plugins
        from kai_tracing_core.sampling.config import SamplerContext, create_sampler

        def other(name: str, argument: str | None) -> Sampler:
            return plugins.create_sampler(settings.replace(sampler=name, sampler_arg=argument), settings)

        context = SamplerContext(service_name=settings.service_name, plugin=other)
        if isinstance(settings.sampler, dict):
            return create_sampler(settings.sampler, context=context)
        return create_sampler(self.name, argument or "", context=context, where="TRACING_SAMPLER_ARG")


always_on = _BuiltIn("always_on")
always_off = _BuiltIn("always_off")
traceidratio = _BuiltIn("traceidratio")
consistent_probability = _BuiltIn("consistent_probability")
ratio = _BuiltIn("ratio")
parent_based = _BuiltIn("parent_based")
rate_limiting = _BuiltIn("rate_limiting")
adaptive = _BuiltIn("adaptive")
rules = _BuiltIn("rules")
remote = _BuiltIn("remote")
tail = _BuiltIn("tail")
parentbased_always_on = _BuiltIn("parentbased_always_on")
parentbased_always_off = _BuiltIn("parentbased_always_off")
parentbased_traceidratio = _BuiltIn("parentbased_traceidratio")
jaeger_remote = _BuiltIn("jaeger_remote")
parentbased_jaeger_remote = _BuiltIn("parentbased_jaeger_remote")
