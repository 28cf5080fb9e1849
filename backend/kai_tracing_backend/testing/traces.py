"""Traces of all shapes around one midnight, few names and values among them, so that queries find some and not all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any

from kai_tracing_backend.columns import SHARED
from kai_tracing_backend.model import Scope, SpanEvent, SpanLink, StoredSpan

__all__ = ["KEYS", "MIDNIGHT", "NAMES", "SERVICES", "VALUES", "random_traces"]

MIDNIGHT = 20_001 * 86_400_000_000_000
"""2024-10-05, 00:00 UTC."""

KEYS = ("x", "http.route", "http.response.status_code", "a b'", "")
SERVICES = ("a", "b", "cart")
NAMES = ("op", "GET /", "älter\n")
VALUES: tuple[Any, ...] = (
    "a",
    "b",
    "200",
    "'; --",
    "",
    "ä\n",
    0,
    1,
    200,
    -5,
    (1 << 53) + 1,
    0.0,
    1.0,
    200.5,
    2.0**53,
    math.nan,
    math.inf,
    True,
    False,
    None,
    b"a",
    {"x": "a"},
    [],
    ["a", "b"],
    ["a", 1, 200.5],
    [math.nan, None],
    [True],
    [["a"]],
)
_DURATIONS = (0, 1, 1_000, 1_000_000, 200_000_000, 5_000_000_000)


def random_traces(seed: int, count: int) -> list[list[StoredSpan]]:
    """So many traces; of a seed always the same."""
    random = Random(seed)
    return [_trace(random, number) for number in range(1, count + 1)]


def _trace(random: Random, number: int) -> list[StoredSpan]:
    begin = MIDNIGHT + random.randrange(-4_000_000_000, 4_000_000_000)
    spans: list[StoredSpan] = []
    ids = random.sample(range(1, 100), random.randrange(1, 9))
    for position, own in enumerate(ids):
        parent = random.choice([*ids[:position], *ids[:position], own, 100]) if position else 0
        shared = position > 0 and random.random() < 0.1
        spans.append(
            StoredSpan(
                trace_id=f"{number * random.choice([1, 1 << 70]):032x}" if not spans else spans[0].trace_id,
                span_id=f"{ids[position - 1] if shared else own:016x}",
                parent_id=f"{parent:016x}" if parent and random.random() < 0.9 else None,
                name=random.choice(NAMES),
                service=(service := random.choice(SERVICES)),
                start_time=begin + random.choice([0, 1, 1_000, 500_000_000, 3_000_000_000]),
                duration=random.choice(_DURATIONS),
                kind=random.randrange(6),
                status=random.choice([0, 0, 1, 2]),
                status_message=random.choice(["", "why"]),
                flags=SHARED if shared else 0,
                attributes=_attributes(random, 3),
                events=[
                    SpanEvent(begin + random.choice([0, 5_000]), random.choice(NAMES), _attributes(random, 2))
                    for _ in range(random.choice([0, 0, 1, 2]))
                ],
                links=[
                    SpanLink(
                        f"{random.randrange(1, 3):032x}", f"{random.randrange(1, 3):016x}", "", _attributes(random, 2)
                    )
                    for _ in range(random.choice([0, 0, 0, 2]))
                ],
                resource={"service.name": service, **_attributes(random, 1)},
                scope=Scope(random.choice(["", "lib"]), random.choice(["", "1"]), _attributes(random, 1)),
            )
        )
    return list({(one.span_id, one.start_time, one.kind): one for one in spans}.values())  # a store keeps one of each


def _attributes(random: Random, most: int) -> dict[str, Any]:
    keys: Sequence[str] = random.sample(KEYS, random.randrange(most + 1))
    return {key: random.choice(VALUES) for key in keys}
