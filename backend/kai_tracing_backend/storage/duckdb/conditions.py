"""Retention's rules as SQL over a row of `spans`: constant fragments, every value a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from kai_tracing_backend.keeping import AttributeTest, KeepRule
from kai_tracing_backend.storage.duckdb.expressions import Expressions
from kai_tracing_backend.values import Value

__all__ = ["Conditions"]

_COMPARISONS = {"=": "=", "glob": "GLOB", ">": ">", ">=": ">=", "<": "<", "<=": "<="}


class Conditions(Expressions):
    """The rules as one expression, `bits`, that has bit n where a span passes rule n, and its `parameters`.

    `resources` are those of the file: what their attributes are is known before the spans are looked at.
    """

    def __init__(self, rules: Sequence[KeepRule], resources: Mapping[int, Mapping[str, Value]]) -> None:
        super().__init__()
        self._resources = resources
        shares = sorted({rule.slowest for rule in rules if rule.slowest is not None})
        self._limits = {share: f"limit{index}" for index, share in enumerate(shares)}
        terms = [
            f"CASE WHEN {self._rule(rule)} THEN {1 << index}::UBIGINT ELSE 0 END" for index, rule in enumerate(rules)
        ]
        self.bits = " | ".join(terms)

    def _rule(self, rule: KeepRule) -> str:
        terms = ["TRUE"]
        if rule.services:
            terms.append(self._any("service", rule.services))
        if rule.operations:
            terms.append(self._any("name", rule.operations))
        if rule.error is not None:
            terms.append("status = 2" if rule.error else "status <> 2")
        if rule.min_duration is not None:
            terms.append(f"duration >= {self.value(rule.min_duration)}")
        if rule.max_duration is not None:
            terms.append(f"duration <= {self.value(rule.max_duration)}")
        if rule.slowest is not None:
            terms.append(f"parent_id = 0 AND duration > {self._limits[rule.slowest]}")
        terms += [self._attribute(test) for test in rule.attributes]
        return " AND ".join(f"({term})" for term in terms)

    def _any(self, column: str, globs: Sequence[str]) -> str:
        return " OR ".join(f"{column} GLOB {self.value(glob)}" for glob in globs)

    def _attribute(self, test: AttributeTest) -> str:
        numeric = not isinstance(test.value, (str, bool))
        kinds: tuple[type, ...] = (int, float) if numeric else (type(test.value),)
        operator, value = _COMPARISONS[test.comparison], self.value(test.value)
        found = {kind: self.attribute(test.key, kind) for kind in kinds}
        if numeric:  # NaN, which to DuckDB is more than any number, passes no test
            found[float] = f"nullif({found[float]}, 'nan'::DOUBLE)"
        terms = [f"{text} {operator} {value}" for text in found.values()]
        if among := [number for number, attributes in self._resources.items() if _passes(attributes, test)]:
            terms.append(f"list_contains({self.value(among)}, resource)")
        return " OR ".join(f"coalesce({term}, FALSE)" for term in terms)


def _passes(attributes: Mapping[str, Value], test: AttributeTest) -> bool:
    found, wanted = attributes.get(test.key), test.value
    if isinstance(wanted, (str, bool)):
        if type(found) is not type(wanted):
            return False
        return fnmatchcase(str(found), str(wanted)) if test.comparison == "glob" else found == wanted
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return False
    if test.comparison == "=":
        return found == wanted
    if test.comparison in (">", ">="):
        return found > wanted or (found == wanted and test.comparison == ">=")
    return found < wanted or (found == wanted and test.comparison == "<=")
