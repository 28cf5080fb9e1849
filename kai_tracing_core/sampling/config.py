"""Samplers as data: what the settings file, `TRACING_SAMPLER` with its argument, and the command line can say.

Two forms are read. A table, which nests (`{"type": "rules", "rules": [{"name": "GET /health*", "sampler": …}]}`), and
a short one for environment variables: a name, and perhaps a colon and an argument (`ratio:0.1`). Wherever a table
has a sampler in it, the short form will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Tag,
    TypeAdapter,
    ValidationError,
)

from kai_tracing_core.errors import ConfigurationError, did_you_mean
from kai_tracing_core.sampling.adaptive import Adaptive
from kai_tracing_core.sampling.always import AlwaysOff, AlwaysOn
from kai_tracing_core.sampling.base import Sampler
from kai_tracing_core.sampling.config_base import Chance, SamplerContext, Table, parse_number
from kai_tracing_core.sampling.consistent_probability import ConsistentProbability
from kai_tracing_core.sampling.parent_based import ParentBased
from kai_tracing_core.sampling.rate_limiting import RateLimiting
from kai_tracing_core.sampling.ratio import TraceIdRatio
from kai_tracing_core.sampling.rules import Rule, Rules
from kai_tracing_core.sampling.tail import Tail, TailOptions
from kai_tracing_core.sampling.tail_config import DEFAULT_POLICIES, AnyPolicy, parse_policies
from kai_tracing_core.span import SpanKind

__all__ = ["BUILT_IN", "SamplerContext", "create_sampler", "describe_mistakes"]


class _Sampler(Table):
    """A sampler; `follow_parent` says whether it decides about new traces only."""

    follows: ClassVar[bool] = True  # what `follow_parent` is for the outermost one; for a nested one it is False

    follow_parent: bool | None = None

    def create(self, context: SamplerContext) -> Sampler:
        """The sampler itself."""
        raise NotImplementedError  # each kind of sampler has its own

    def build(self, context: SamplerContext, *, outermost: bool = False) -> Sampler:
        """The sampler, following parents where it is to."""
        follow = (outermost and self.follows) if self.follow_parent is None else self.follow_parent
        sampler = self.create(context)
        return ParentBased(sampler) if follow else sampler


class _Always(_Sampler):
    follows = False

    type: Literal["always_on", "always_off"]

    def create(self, context: SamplerContext) -> Sampler:
        return AlwaysOn() if self.type == "always_on" else AlwaysOff()


class _TraceIdRatio(_Sampler):
    follows = False

    type: Literal["traceidratio"]
    ratio: Chance = 1.0

    def create(self, context: SamplerContext) -> Sampler:
        return TraceIdRatio(self.ratio)


class _Consistent(_Sampler):
    type: Literal["consistent_probability", "ratio"]
    probability: Chance = 1.0

    def create(self, context: SamplerContext) -> Sampler:
        return ConsistentProbability(self.probability)


class _ParentBased(_Sampler):
    follows = False

    type: Literal["parent_based"]
    root: AnySampler
    remote_parent_sampled: AnySampler | None = None
    remote_parent_not_sampled: AnySampler | None = None
    local_parent_sampled: AnySampler | None = None
    local_parent_not_sampled: AnySampler | None = None

    def create(self, context: SamplerContext) -> Sampler:
        branches = {
            name: getattr(self, name).build(context)
            for name in type(self).model_fields
            if name.endswith("sampled") and getattr(self, name) is not None
        }
        return ParentBased(self.root.build(context), **branches)


class _RateLimiting(_Sampler):
    type: Literal["rate_limiting"]
    rate: NonNegativeFloat
    burst: Annotated[float, Field(ge=1)] | None = None
    max_operations: PositiveInt = 1000

    def create(self, context: SamplerContext) -> Sampler:
        return RateLimiting(self.rate, burst=self.burst, max_operations=self.max_operations, **context.timed())


class _Adaptive(_Sampler):
    type: Literal["adaptive"]
    target: PositiveFloat
    floor: Chance = 0.001
    window: PositiveFloat = 5.0
    max_operations: PositiveInt = 1000

    def create(self, context: SamplerContext) -> Sampler:
        return Adaptive(
            self.target, floor=self.floor, window=self.window, max_operations=self.max_operations, **context.timed()
        )


class _Rule(Table):
    sampler: AnySampler
    name: str | None = None
    kind: Literal["internal", "server", "client", "producer", "consumer"] | None = None
    attributes: dict[str, str | bool | int | float] = Field(default_factory=dict)
    service: str | None = None


class _Rules(_Sampler):
    type: Literal["rules"]
    rules: list[_Rule]
    default: AnySampler | None = None

    def create(self, context: SamplerContext) -> Sampler:
        rules = [
            Rule(
                rule.sampler.build(context),
                name=rule.name,
                kind=SpanKind[rule.kind.upper()] if rule.kind is not None else None,
                attributes=rule.attributes,
                service=rule.service,
            )
            for rule in self.rules
        ]
        default = self.default.build(context) if self.default is not None else None
        return Rules(rules, default=default, service_name=context.service_name)


class _Remote(_Sampler):
    type: Literal["remote"]
    endpoint: str | None = None
    interval: PositiveFloat = 60.0
    timeout: PositiveFloat = 5.0
    initial: AnySampler | None = None

    def create(self, context: SamplerContext) -> Sampler:
        from kai_tracing_core.sampling.remote import DEFAULT_ENDPOINT, Remote

        return Remote(
            context.service_name,
            endpoint=self.endpoint or DEFAULT_ENDPOINT,
            interval=self.interval,
            timeout=self.timeout,
            initial=self.initial.build(context) if self.initial is not None else None,
        )


class _Tail(_Sampler):
    follows = False

    type: Literal["tail"]
    policies: list[AnyPolicy] = Field(default_factory=lambda: parse_policies(DEFAULT_POLICIES), validate_default=True)
    head: AnySampler | None = None
    decision_channel: str | None = None
    max_spans: PositiveInt = 20_000
    max_wait: PositiveFloat = 30.0
    max_decisions: PositiveInt = 10_000
    decision_wait: PositiveFloat = 5.0
    poll_interval: PositiveFloat = 0.25

    def build(self, context: SamplerContext, *, outermost: bool = False) -> Sampler:
        if not outermost or self.follow_parent:
            raise ConfigurationError("tail sampling decides last: it may have another sampler as head, but be in none")
        return self.create(context)

    def create(self, context: SamplerContext) -> Sampler:
        from kai_tracing_core.sampling.decisions import HttpDecisionChannel
        from kai_tracing_core.sampling.tail_policies import Or

        return Tail(
            Or(*(policy.create(context) for policy in self.policies)),
            head=self.head.build(context, outermost=True) if self.head is not None else None,
            options=TailOptions(
                max_spans=self.max_spans,
                max_wait=self.max_wait,
                max_decisions=self.max_decisions,
                decision_wait=self.decision_wait,
                poll_interval=self.poll_interval,
            ),
            channel=HttpDecisionChannel(self.decision_channel) if self.decision_channel else None,
        )


class _Plugin(_Sampler):
    """A sampler of another package, by the name of its entry point."""

    follows = False

    type: str
    argument: str | None = None

    def create(self, context: SamplerContext) -> Sampler:
        if context.plugin is None:
            raise ConfigurationError(f"there is no sampler {self.type!r}.{did_you_mean(self.type, BUILT_IN)}")
        return context.plugin(self.type, self.argument)


# -- the short form --------------------------------------------------------------------------------------------------


def _remote(argument: str) -> dict[str, Any]:
    """OpenTelemetry's `endpoint=…,pollingIntervalMs=…,initialSamplingRate=…`, or an endpoint alone."""
    if argument.startswith(("http://", "https://")):
        return {"endpoint": argument}
    table: dict[str, Any] = {}
    for pair in filter(None, argument.split(",")):
        key, _, value = (part.strip() for part in pair.partition("="))
        number = parse_number(value)
        if key == "pollingIntervalMs":
            table["interval"] = number / 1000 if isinstance(number, float) else number
        elif key == "initialSamplingRate":
            table["initial"] = {"type": "consistent_probability", "probability": number}
        else:
            table[key] = value
    return table


def _rules(argument: str) -> dict[str, Any]:
    """`GET /health*=always_off;*=ratio:0.1`."""
    pairs = [part.partition("=") for part in argument.split(";") if part.strip()]
    return {"rules": [{"name": name.strip(), "sampler": sampler.strip()} for name, _, sampler in pairs]}


def _number(field: str) -> Callable[[str], dict[str, Any]]:
    return lambda argument: {field: parse_number(argument)}


def _nothing(argument: str) -> dict[str, Any]:
    return {"argument": argument}


def _following(kind: str) -> Callable[[str], dict[str, Any]]:
    return lambda argument: {"type": kind, "follow_parent": True, **(_ARGUMENTS[kind](argument) if argument else {})}


_ARGUMENTS: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "always_on": _nothing,
    "always_off": _nothing,
    "traceidratio": _number("ratio"),
    "consistent_probability": _number("probability"),
    "ratio": _number("probability"),
    "parent_based": lambda argument: {"root": argument},
    "rate_limiting": _number("rate"),
    "adaptive": _number("target"),
    "rules": _rules,
    "remote": _remote,
    "tail": lambda argument: {"policies": parse_policies(argument)},
}
_ALIASES: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "parentbased_always_on": lambda _: {"type": "always_on", "follow_parent": True},
    "parentbased_always_off": lambda _: {"type": "always_off", "follow_parent": True},
    "parentbased_traceidratio": _following("traceidratio"),
    "jaeger_remote": lambda argument: {"type": "remote", "follow_parent": False, **_remote(argument)},
    "parentbased_jaeger_remote": _following("remote"),
}
BUILT_IN = (*_ARGUMENTS, *_ALIASES)
"""Every name that the short form knows; those of OpenTelemetry are among them."""


def _from_short(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    name, _, argument = value.strip().partition(":")
    return _from_name(name, argument)


def _from_name(name: str, argument: str | None) -> dict[str, Any]:
    name = name.strip()
    if name in _ALIASES:
        return _ALIASES[name]((argument or "").strip())
    table: dict[str, Any] = {"root": "always_on"} if name == "parent_based" else {}
    if argument:
        parse = _ARGUMENTS.get(name, _nothing)
        table |= parse(argument.strip())
    return {"type": name, **table}


def _tag(value: Any) -> str:
    kind = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
    return str(kind) if kind in _ARGUMENTS else "plugin"


AnySampler = Annotated[
    Annotated[
        Annotated[_Always, Tag("always_on")]
        | Annotated[_Always, Tag("always_off")]
        | Annotated[_TraceIdRatio, Tag("traceidratio")]
        | Annotated[_Consistent, Tag("consistent_probability")]
        | Annotated[_Consistent, Tag("ratio")]
        | Annotated[_ParentBased, Tag("parent_based")]
        | Annotated[_RateLimiting, Tag("rate_limiting")]
        | Annotated[_Adaptive, Tag("adaptive")]
        | Annotated[_Rules, Tag("rules")]
        | Annotated[_Remote, Tag("remote")]
        | Annotated[_Tail, Tag("tail")]
        | Annotated[_Plugin, Tag("plugin")],
        Discriminator(_tag),
    ],
    BeforeValidator(_from_short),
]

for _model in (_ParentBased, _Rule, _Rules, _Remote, _Tail):
    _model.model_rebuild()
_ADAPTER: TypeAdapter[_Sampler] = TypeAdapter(AnySampler)


def create_sampler(
    description: str | Mapping[str, Any],
    argument: str | None = None,
    *,
    context: SamplerContext | None = None,
    where: str = "sampler",
) -> Sampler:
    """The sampler that a table or a short form describes; with `argument`, `description` is a name alone.

    Raises:
        ConfigurationError: it describes none; the message has a line for every mistake, with the path of the field,
            which starts with `where`.
    """
    if isinstance(description, str):
        table: Any = _from_short(description) if argument is None else _from_name(description, argument)
    else:
        table = dict(description)
    try:
        config = _ADAPTER.validate_python(table)
    except ValidationError as error:
        raise ConfigurationError("\n".join(describe_mistakes(error, table, where))) from error
    try:
        return config.build(context or SamplerContext(), outermost=True)
    except ConfigurationError:
        raise
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from error


def describe_mistakes(error: ValidationError, table: Any, where: str) -> Iterable[str]:
    """A line for each mistake in a table, with the path of its field, which starts with `where`."""
    for mistake in error.errors(include_url=False):
        message = mistake["msg"].removeprefix("Value error, ")
        given = "" if isinstance(mistake["input"], (dict, list)) else f" (given: {mistake['input']!r})"
        yield f"{where}{_path(mistake['loc'], table)}: {message}{given}"


def _path(location: tuple[int | str, ...], data: Any) -> str:
    """The location without the tags of unions, which are no part of what the user wrote."""
    path, skipped = "", False
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
            data = data[part] if isinstance(data, list) and part < len(data) else None
        elif isinstance(data, Mapping) and part in data:
            path += f".{part}"
            data = data[part]
        elif not skipped and (not isinstance(data, Mapping) or _tag(data) == part or data.get("type") == part):
            skipped = True
            continue
        else:
            path += f".{part}"
            data = None
        skipped = False
    return path
