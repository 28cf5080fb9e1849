"""DDSketch (Masson, Rim, Lee 2019): quantiles within 1 % of the true value, mergeable by adding bucket to bucket."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

__all__ = ["ACCURACY", "GAMMA", "LN_GAMMA", "merged", "quantile"]

ACCURACY = 0.01
GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
LN_GAMMA = math.log(GAMMA)
"""A value v > 0 is in bucket ceil(ln(v) / LN_GAMMA); 0 and less is in bucket -1. `sql/write_rates.sql` does that."""


def quantile(sketch: Mapping[int, float], q: float) -> float:
    """The value that a share `q` (0 to 1) of the weight does not exceed; 0 for an empty sketch."""
    rank = q * sum(sketch.values())
    seen = 0.0
    for bucket in sorted(sketch):
        seen += sketch[bucket]
        if seen >= rank:
            break
    else:
        bucket = max(sketch, default=-1)
    return 0.0 if bucket < 0 else 2.0 * GAMMA**bucket / (GAMMA + 1.0)


def merged(sketches: Iterable[Mapping[int, float]]) -> dict[int, float]:
    """The sketch of all that is in these."""
    found: dict[int, float] = defaultdict(float)
    for sketch in sketches:
        for bucket, weight in sketch.items():
            found[bucket] += weight
    return found
