"""The retention policy: what it says, what is wrong with it, and what it would drop."""

from __future__ import annotations

import logging
import re
from datetime import date
from pathlib import Path

import pytest
from kai_tracing_backend.keeping import NEVER, AttributeTest, Cut, KeepRule, Lot
from kai_tracing_backend.retention.planning import cut_to_size, plan_tenant
from kai_tracing_backend.retention.policy import DEFAULT_POLICY, PolicyError, read_policy
from kai_tracing_backend.retention.source import PolicySource
from kai_tracing_backend.testing.store_contract import DAY

EVERYTHING = """
rules:
  - name: gold
    match:
      service: [shop, "cart-*"]
      operation: "GET /api/*"
      error: false
      duration: "> 1.5s"
      slowest: 0.5%
      attributes: {tier: gold, http.route: "/api/*", http.response.status_code: ">= 500", cached: true, n: 7}
      tenant: "team-?"
    keep: 2w
    archive: true
  - {name: short, match: {duration: "<= 10ms"}, keep: 12h}
  - {name: rest, keep: 1y}
rollups: 3mo
max_size: 50GB
"""


def test_a_policy_says_everything_that_a_rule_can() -> None:
    """Each field becomes what the store understands; a rule of other tenants is none of theirs."""
    policy = read_policy(EVERYTHING)
    gold, short, rest = policy.for_tenant("team-a")
    assert gold == KeepRule(
        "gold",
        14 * DAY,
        services=("shop", "cart-*"),
        operations=("GET /api/*",),
        error=False,
        min_duration=1_500_000_001,
        slowest=0.005,
        attributes=(
            AttributeTest("tier", "=", "gold"),
            AttributeTest("http.route", "glob", "/api/*"),
            AttributeTest("http.response.status_code", ">=", 500.0),
            AttributeTest("cached", "=", True),
            AttributeTest("n", "=", 7),
        ),
        archive=True,
    )
    assert (short.keep, short.max_duration) == (DAY // 2, 10_000_000)
    assert rest == KeepRule("rest", 365 * DAY + DAY // 4)
    assert [rule.name for rule in policy.for_tenant("default")] == ["short", "rest"]
    assert policy.max_size == 50 * 10**9


def test_the_built_in_policy_is_the_documented_one() -> None:
    """Errors a month, health checks a day, the slowest two weeks, the rest a week; rollups for 13 months."""
    policy = read_policy(DEFAULT_POLICY)
    assert [(rule.name, rule.keep // DAY) for rule in policy.rules] == [
        ("errors", 30),
        ("health checks", 1),
        ("slowest", 14),
        ("rest", 7),
    ]
    assert 390 * DAY < policy.rollups < 400 * DAY


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"p\.yaml: a policy has `rules:`.*example"),
        ("rules: [", r"p\.yaml: not YAML"),
        ("rules: []", r"line 1: rules: .*at least 1"),
        ("rules:\n  - name: a\n    keep: 7", r"line 3, rule 1 \(a\): keep: a number with its unit.*such as 12h, 30d"),
        (
            "rules:\n  - name: a\n    kepe: 7d\n",
            r"line 3, rule 1 \(a\): kepe: there is no such field\. Did you mean keep\?",
        ),
        ("rules:\n  - name: a\n", r"line 2, rule 1 \(a\): keep: is missing"),
        (
            "rules:\n - {name: a, match: {slowest: 1}, keep: 1d}\n",
            r"rule 1 \(a\): match\.slowest: a share .* such as 1%",
        ),
        ("rules:\n - name: a\n   match:\n     duration: 2s\n   keep: 1d", r"line 3.*duration: a comparison.*'2s'"),
        ('rules:\n - {name: a, match: {attributes: {n: "> x"}}, keep: 1d}', r"attributes: n: 'x' is no number"),
        ("rules:\n - {name: a, match: {error: 1}, keep: 1d}", r"match\.error: .*boolean"),
        ("rules:\n - {name: a, keep: 1d}\n - {name: b, keep: 1d}", r"'a' \(rule 1\) has no match.*put it last"),
        ("rules:\n - {name: a, match: {error: true}, keep: 1d}", r"'a', has a match.*add a rule without match"),
        ("rules:\n - {name: a, match: {error: true}, keep: 1d}\n - {name: a, keep: 1d}", r"the same name"),
        ("rules: &x [{name: a, keep: 1d}]\nrollups: *x", r"aliases"),
        ("rules: [{name: a, keep: 1d}]\nmax_size: 5", r"line 2: max_size: .*such as 500MB"),
        ("rules: [{name: a, keep: 200y}]", r"at most 100y"),
        ("[[[[" * 2_000, r"not YAML"),
        ("!!python/object/apply:os.system [ls]", r"not YAML"),
    ],
)
def test_what_is_wrong_with_a_policy_is_said_with_its_place(text: str, message: str) -> None:
    """The file, the line, the rule and the field, and what to write instead."""
    with pytest.raises(PolicyError) as caught:
        read_policy(text, "p.yaml")
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)
    assert str(caught.value).startswith("p.yaml")


def test_a_policy_file_is_read_again_when_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A bad one leaves the last good one, is logged, and is told of until it is corrected; so does a missing one."""
    path = tmp_path / "p.yaml"
    with pytest.raises(PolicyError, match="TRACING_BACKEND_RETENTION_FILE"):
        PolicySource(path)
    path.write_text("rules: [{name: a, keep: 1d}]")
    source = PolicySource(path)
    assert source.current().policy.rules[0].keep == DAY
    path.write_text("rules: [{name: a, keep: 12d}]")
    assert source.current().policy.rules[0].keep == 12 * DAY
    for broken in ("rules: nothing", None):
        path.unlink() if broken is None else path.write_text(broken)
        with caplog.at_level(logging.ERROR):
            now = source.current()
        assert now.policy.rules[0].keep == 12 * DAY
        assert str(path) in (now.error or "")
        assert "stays as it was" in caplog.text
    path.write_text("rules: [{name: a, keep: 30d}]")
    assert source.current().error is None
    assert source.current().policy.rules[0].keep == 30 * DAY


def lot(day: int, rule: int, expires: int, slice_: int, size: int = 100) -> Lot:
    """Ten spans of two traces."""
    return Lot(date(2024, 10, day), rule, expires, slice_, 2, 10, size, slice_, slice_ + 1)


def test_a_plan_sums_what_is_due_by_rule_and_by_day() -> None:
    """A day of which everything is due is whole; rules of which nothing is due are shown, too."""
    lots = [lot(1, 0, 5, 1), lot(1, 1, 9, 2), lot(2, 1, 5, 3), lot(3, 1, NEVER, 4)]
    plan = plan_tenant("t", [KeepRule("a", 1), KeepRule("b", 1), KeepRule("c", 1)], lots, Cut(5))
    assert [(rule.rule, rule.traces, rule.spans, rule.bytes) for rule in plan.rules] == [
        ("a", 2, 10, 100),
        ("b", 2, 10, 100),
        ("c", 0, 0, 0),
    ]
    assert [(rule.oldest, rule.newest) for rule in plan.rules] == [(1, 2), (3, 4), (None, None)]
    assert [(day.day.day, day.spans, day.of_spans, day.whole) for day in plan.days] == [
        (1, 10, 20, False),
        (2, 10, 10, True),
    ]
    assert plan.bytes == 200


def test_a_size_takes_what_has_the_least_to_live_of_all_tenants() -> None:
    """What is due anyway counts; then by remaining life, then by age; never what is pinned."""
    lots = {
        "a": [lot(1, 0, 5, 1), lot(2, 0, 20, 2), lot(2, 0, 20, 9)],
        "b": [lot(1, 0, NEVER, 1), lot(2, 0, 20, 4), lot(2, 1, 30, 3)],
    }
    assert cut_to_size(lots, 10, 600, None) == Cut(10)
    assert cut_to_size(lots, 10, 600, 500) == Cut(10)
    assert cut_to_size(lots, 10, 600, 499) == Cut(10, 20, 2)
    assert cut_to_size(lots, 10, 600, 350) == Cut(10, 20, 4)
    assert cut_to_size(lots, 10, 600, 1) == Cut(10, 30, 3)
    assert not Cut(10, 30, 3).takes(lots["b"][0])
