"""The policy: rules in order, the first that a trace fits says how long it is kept.

Read from YAML, validated, and translated into what a store understands. Every error says the line, the rule and the
field, and what to write instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from kai_tracing_backend.keeping import AttributeTest, KeepRule
from kai_tracing_backend.retention.units import parse_comparison, parse_keep, parse_share, parse_size, parse_time
from kai_tracing_core.errors import did_you_mean

__all__ = ["DEFAULT_POLICY", "MAX_RULES", "Match", "Policy", "PolicyError", "PolicyRule", "concerns", "read_policy"]

MAX_RULES = 60
MAX_TEXT = 1 << 20
"""Of a policy, in characters."""

DEFAULT_POLICY = """\
rules:
  - name: errors
    match: {error: true}
    keep: 30d
  - name: health checks
    match:
      operation: ["GET /health*", "GET /ready*", "GET /live*", "GET /ping*", "*grpc.health*"]
    keep: 1d
  - name: slowest
    match: {slowest: 1%}
    keep: 14d
  - name: rest
    keep: 7d
rollups: 13mo
"""
"""What holds where no policy is given."""


class PolicyError(ValueError):
    """The policy cannot be used; the message says where and why."""


def _globs(value: object) -> object:
    return [value] if isinstance(value, str) else value


Keep = Annotated[int, BeforeValidator(parse_keep)]
Glob = Annotated[str, Field(min_length=1, max_length=1_000)]
Globs = Annotated[list[Glob], BeforeValidator(_globs), Field(min_length=1, max_length=100)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Match(_Part):
    """What one span of the trace must be: all of this. What is not there is not asked for."""

    service: Globs | None = Field(None, description="globs of the span's service")
    operation: Globs | None = Field(None, description="globs of the span's name")
    error: bool | None = Field(None, strict=True, description="whether the span failed")
    duration: str | None = Field(None, description='how long the span took, such as "> 2s"')
    slowest: Annotated[float, BeforeValidator(parse_share)] | None = Field(
        None, description="the span is a root, and among this share of its operation's slowest of the day, such as 1%"
    )
    attributes: dict[str, str | bool | int | float] = Field(
        default_factory=dict, max_length=50, description='of the span or its resource: a value, a glob or ">= 500"'
    )
    tenant: Globs | None = Field(None, description="globs of the tenant's name")

    @model_validator(mode="after")
    def _readable(self) -> Match:
        self.limits()
        self.tests()
        return self

    def limits(self) -> tuple[int | None, int | None]:
        """The least and the greatest duration, in nanoseconds."""
        if self.duration is None:
            return None, None
        found = parse_comparison(self.duration)
        if found is None:
            raise ValueError(f'duration: a comparison is expected, such as "> 2s", not {self.duration!r}')
        operator, limit = found[0], parse_time(found[1])
        if operator.startswith(">"):
            return limit + (operator == ">"), None
        return None, limit - (operator == "<")

    def tests(self) -> tuple[AttributeTest, ...]:
        """The attributes as tests."""
        return tuple(_test(key, value) for key, value in self.attributes.items())


def _test(key: str, value: str | bool | float) -> AttributeTest:
    if not isinstance(value, str):
        return AttributeTest(key, "=", value)
    if (found := parse_comparison(value)) is not None:
        try:
            return AttributeTest(key, found[0], float(found[1]))  # type: ignore[arg-type]  # one of four
        except ValueError as error:
            raise ValueError(f"attributes: {key}: {found[1]!r} is no number to compare with") from error
    return AttributeTest(key, "glob" if any(sign in value for sign in "*?[") else "=", value)


class PolicyRule(_Part):
    """How long the traces are kept that have a span which fits; without `match` every trace fits."""

    name: str = Field(min_length=1, max_length=100)
    match: Match | None = None
    keep: Keep = Field(description="from the end of the day (UTC) of the trace's last span: 12h, 30d, 2w, 13mo, 1y")
    archive: bool = Field(False, strict=True, description="write the traces to Parquet before they are dropped")


class Policy(_Part):
    """The whole policy. The last rule has no `match`: it says what happens to the rest."""

    rules: list[PolicyRule] = Field(min_length=1, max_length=MAX_RULES)
    rollups: Keep = Field(default_factory=lambda: parse_keep("13mo"), description="how long rates and edges are kept")
    max_size: Annotated[int, BeforeValidator(parse_size)] | None = Field(
        None, description="of all tenants' spans on the disk; above it what has the least to live goes first"
    )

    @model_validator(mode="after")
    def _covers_everything(self) -> Policy:
        for index, rule in enumerate(self.rules[:-1]):
            if rule.match is None:
                raise ValueError(
                    f"rules: {rule.name!r} (rule {index + 1}) has no match, so that no rule after it is ever reached: "
                    "put it last, or give it a match"
                )
        last = self.rules[-1]
        if last.match is not None:
            raise ValueError(
                f"rules: the last rule, {last.name!r}, has a match, so that nothing says how long the rest is kept: "
                "add a rule without match, such as {name: rest, keep: 7d}"
            )
        if len({rule.name for rule in self.rules}) < len(self.rules):
            raise ValueError("rules: two have the same name: plans name them, so give each its own")
        return self

    def for_tenant(self, tenant: str) -> list[KeepRule]:
        """The rules that concern a tenant, as a store understands them."""
        return [_keep_rule(rule) for rule in self.rules if concerns(rule, tenant)]


def concerns(rule: PolicyRule, tenant: str) -> bool:
    """Whether the rule is for the traces of this tenant."""
    globs: Sequence[str] | None = rule.match.tenant if rule.match is not None else None
    return globs is None or any(fnmatchcase(tenant, glob) for glob in globs)


def _keep_rule(rule: PolicyRule) -> KeepRule:
    match = rule.match or Match.model_validate({})
    least, most = match.limits()
    return KeepRule(
        rule.name,
        rule.keep,
        services=tuple(match.service or ()),
        operations=tuple(match.operation or ()),
        error=match.error,
        min_duration=least,
        max_duration=most,
        slowest=match.slowest,
        attributes=match.tests(),
        archive=rule.archive,
    )


# -- reading -----------------------------------------------------------------------------------------------------------


def read_policy(text: str, source: str = "policy") -> Policy:
    """The policy that a YAML text says.

    Raises:
        PolicyError: it says none: `source`, the line, the rule and the field are in the message.
    """
    if len(text) > MAX_TEXT:
        raise PolicyError(f"{source}: more than {MAX_TEXT} characters")
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise PolicyError(f"{source}: aliases (*name) are not understood: write it out")
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise PolicyError(f"{source}: not YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise error if isinstance(error, PolicyError) else PolicyError(f"{source}: {error}") from error
    if not isinstance(document, dict):
        raise PolicyError(f"{source}: a policy has `rules:`; there are none. An example:\n{DEFAULT_POLICY}")
    try:
        return Policy.model_validate(document)
    except ValidationError as error:
        faults = [_fault(tree, fault, document) for fault in error.errors(include_url=False)]
        raise PolicyError("\n".join(f"{source}, {fault}" for fault in faults[:10])) from error


def _fault(tree: Any, fault: Any, document: dict[str, Any]) -> str:
    """One fault: where, what, and the way out."""
    path = [part for part in fault["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    line, known = _place(tree, path)
    where = f"line {line}"
    if len(path) > 1 and path[0] == "rules" and isinstance(path[1], int):
        where += f", rule {_name(document, path[1])}"
        path = path[2:]
    field = ".".join(str(part) for part in path[:known])
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = f"there is no such field.{did_you_mean(str(path[-1]), _FIELDS)} Correct or remove it."
    elif fault["type"] == "missing":
        message = "is missing: add it."
    return f"{where}: {field}: {message}" if field else f"{where}: {message}"


_FIELDS = sorted({name for part in (Policy, PolicyRule, Match) for name in part.model_fields})


def _name(document: dict[str, Any], index: int) -> str:
    rule = document["rules"][index] if isinstance(document.get("rules"), list) else None
    name = rule.get("name") if isinstance(rule, dict) else None
    return f"{index + 1} ({name})" if isinstance(name, str) else f"{index + 1}"


def _place(node: Any, path: Sequence[str | int]) -> tuple[int, int]:
    """The line of what a path leads to, and how much of the path there is to be shown."""
    line = node.start_mark.line + 1
    for depth, part in enumerate(path):
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = (node.value[part], node.value[part])
        if found is None:
            return line, len(path) if depth == len(path) - 1 else depth
        line, node = found[0].start_mark.line + 1, found[1]
    return line, len(path)
