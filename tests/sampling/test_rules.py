"""Rules: the first that matches decides."""

from __future__ import annotations

from typing import Any

import pytest

from kai_tracing_core.sampling.always import AlwaysOff, AlwaysOn
from kai_tracing_core.sampling.rules import Rule, Rules, matcher
from kai_tracing_core.span import SpanKind

from .asking import ask, keeps


@pytest.mark.parametrize(
    ("expected", "matching", "others"),
    [
        ("GET /health*", ["GET /health", "GET /health/live"], ["POST /health", "GET /api/health"]),
        ("exact", ["exact"], ["exactly", "Exact"]),
        (">= 500", [500, 503.5], [499, "500", True, None]),
        ("< 1.5e1", [14, -3], [15]),
        (404, [404, 404.0], ["404", 403]),
        (True, [True], [1, "true", False]),
        ("true", [True, "true"], [False, 1]),
        ("40?", [404, "403"], [4040]),
        ("*", ["", "anything", 7], []),
    ],
)
def test_values_match_by_glob_comparison_and_equality(expected: Any, matching: list[Any], others: list[Any]) -> None:
    """Globs look at the text, comparisons at numbers only, and everything else must be equal, type included."""
    test = matcher(expected)
    assert [value for value in matching if not test(value)] == []
    assert [value for value in others if test(value)] == []


def test_the_first_matching_rule_decides() -> None:
    """Order counts, and what no rule matches goes to the default."""
    sampler = Rules(
        [Rule(AlwaysOff(), name="GET /health*"), Rule(AlwaysOn(), name="GET /*"), Rule(AlwaysOff(), name="GET /cart")],
        default=AlwaysOff(),
    )
    kept = [name for name in ("GET /health", "GET /cart", "POST /cart") if keeps(ask(sampler, name=name))]
    assert kept == ["GET /cart"]


def test_every_condition_of_a_rule_must_hold() -> None:
    """Name, kind and all attributes together; an attribute that was not given does not match anything."""
    rule = Rule(
        AlwaysOn(), name="GET *", kind=SpanKind.SERVER, attributes={"http.route": "/api/*", "http.request.size": "> 9"}
    )
    sampler = Rules([rule], default=AlwaysOff())
    fitting = {"http.route": "/api/x", "http.request.size": 10}
    assert keeps(ask(sampler, name="GET x", kind=SpanKind.SERVER, attributes=fitting))
    assert not keeps(ask(sampler, name="PUT x", kind=SpanKind.SERVER, attributes=fitting))
    assert not keeps(ask(sampler, name="GET x", kind=SpanKind.CLIENT, attributes=fitting))
    assert not keeps(ask(sampler, name="GET x", kind=SpanKind.SERVER, attributes={"http.route": "/api/x"}))


def test_rules_of_other_services_do_not_count() -> None:
    """One file may serve many services: a rule for `cart*` holds in the cart only."""
    rules = [Rule(AlwaysOff(), service="cart*")]
    assert not keeps(ask(Rules(rules, service_name="cart-eu")))
    assert keeps(ask(Rules(rules, service_name="shop")))


def test_closing_closes_the_samplers_of_the_rules() -> None:
    """Threads of nested samplers end with the provider."""
    closed = []

    class Closing(AlwaysOn):
        def close(self) -> None:
            closed.append(self)

    Rules([Rule(Closing()), Rule(Closing())], default=Closing()).close()
    assert len(closed) == 3
