"""Different samplers for different operations: the first rule that matches decides."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any

from kai_tracing_core.sampling.always import AlwaysOn
from kai_tracing_core.sampling.base import Sampler, SamplingRequest, SamplingResult
from kai_tracing_core.span import SpanKind

__all__ = ["Rule", "Rules", "holds", "matcher"]

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": lambda value, bound: value >= bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    "<": lambda value, bound: value < bound,
}
_COMPARISON = re.compile(r"\s*(>=|<=|>|<)\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*")


def matcher(expected: Any) -> Callable[[Any], bool]:
    """A test for a value: a glob (`GET /health*`), a comparison (`>= 500`), or equality for what is no string.

    A glob also matches the text of numbers and booleans (`true`, `false`).
    """
    if not isinstance(expected, str):
        return lambda value: bool(value == expected) and isinstance(value, bool) == isinstance(expected, bool)
    comparison = _COMPARISON.fullmatch(expected)
    if comparison is not None:
        compare, bound = _COMPARISONS[comparison[1]], float(comparison[2])
        return lambda value: (
            isinstance(value, (int, float)) and not isinstance(value, bool) and compare(float(value), bound)
        )
    if not set(expected) & set("*?["):
        return lambda value: _text(value) == expected
    glob = re.compile(translate(expected)).match
    return lambda value: glob(_text(value)) is not None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def holds(test: Callable[[Any], bool], value: Any) -> bool:
    """Whether the value passes the test; one that cannot be tested does not."""
    try:
        return test(value)
    except Exception:
        return False


@dataclass(frozen=True)
class Rule:
    """What a span must be like for `sampler` to decide; whatever is None or empty matches anything.

    `name` and `service` are globs; `attributes` are matched as `matcher` says, and must have been given when the
    span was started.
    """

    sampler: Sampler
    name: str | None = None
    kind: SpanKind | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    service: str | None = None


class Rules(Sampler):
    """Asks the sampler of the first rule that matches, or `default` (record) where none does."""

    def __init__(self, rules: Sequence[Rule], *, default: Sampler | None = None, service_name: str = "") -> None:
        """Rules for another service than `service_name` never match and are left out."""
        self.rules = tuple(rules)
        self.default = default or AlwaysOn()
        self._tests = [
            (self._test(rule), rule.sampler.should_sample)
            for rule in self.rules
            if rule.service is None or matcher(rule.service)(service_name)
        ]

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """The decision of the first sampler whose rule matches."""
        for matches, decide in self._tests:
            if matches(request):
                return decide(request)
        return self.default.should_sample(request)

    @staticmethod
    def _test(rule: Rule) -> Callable[[SamplingRequest], bool]:
        name = matcher(rule.name) if rule.name is not None else None
        attributes = [(key, matcher(value)) for key, value in rule.attributes.items()]

        def matches(request: SamplingRequest) -> bool:
            if name is not None and not name(request.name):
                return False
            if rule.kind is not None and request.kind != rule.kind:
                return False
            given = request.attributes
            return all(key in given and holds(test, given[key]) for key, test in attributes)

        return matches

    def close(self) -> None:
        """Close every rule's sampler."""
        for rule in self.rules:
            rule.sampler.close()
        self.default.close()

    @property
    def description(self) -> str:
        """`Rules{GET /health*: AlwaysOff, else AlwaysOn}`."""
        shown = [f"{rule.name or '*'}: {rule.sampler.description}" for rule in self.rules]
        return f"Rules{{{', '.join([*shown, 'else ' + self.default.description])}}}"
