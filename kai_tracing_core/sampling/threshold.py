"""Consistent probability sampling: the `th` and `rv` of the `ot` member of `tracestate`.

OpenTelemetry specification, "TraceState: Probability Sampling": every service compares the trace's randomness R with
its threshold T and keeps the span where R >= T, so that a lower probability keeps a subset of what a higher one does.
"""

from __future__ import annotations

import math
import re

from kai_tracing_core.records import NamedTuple
from kai_tracing_core.tracestate import get_member, put_member

__all__ = [
    "NEVER",
    "Randomness",
    "adjusted_count",
    "encode",
    "known_count",
    "probability",
    "randomness",
    "read",
    "threshold",
    "with_threshold",
]

NEVER = 1 << 56
"""The threshold that no randomness reaches; thresholds and R are integers of 56 bits."""

_MASK = NEVER - 1
_PRECISION = 4  # significant hexadecimal digits
_DIGITS = 14
_TH = re.compile(r"[0-9a-f]{1,14}")
_RV = re.compile(r"[0-9a-f]{14}")
_FIELD = re.compile(r"[a-z][a-z0-9]*:[A-Za-z0-9._-]*")
_MAX_ENTRY = 256


class Randomness(NamedTuple):
    """What the `ot` member says: the rejection threshold and the explicit randomness, each None where absent."""

    th: int | None
    rv: int | None


_NOTHING = Randomness(None, None)


def threshold(fraction: float) -> int:
    """T for a probability: (1 - p) * 2^56, rounded to four significant hexadecimal digits, as it is propagated."""
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"a probability is between 0 and 1, not {fraction}")
    if fraction < 1.0 / NEVER:
        return NEVER
    rejected = 1.0 - fraction
    # Leading zeros and leading f's are not significant: near 0 and near 1 more digits are needed.
    leading = max(-math.frexp(fraction)[1], -math.frexp(rejected)[1] if rejected else 0) // 4
    digits = min(_DIGITS, _PRECISION + max(0, leading))
    unit = 1 << 4 * (_DIGITS - digits)
    exact = NEVER - round(fraction * NEVER)
    return min((exact + unit // 2) // unit * unit, NEVER - 1)


def probability(rejection: int) -> float:
    """The probability that a threshold stands for."""
    return (NEVER - rejection) / NEVER


def adjusted_count(rejection: int) -> float:
    """How many spans one that passed the threshold stands for."""
    return NEVER / (NEVER - rejection)


def encode(rejection: int) -> str:
    """The threshold as `th` has it: hexadecimal, without trailing zeros."""
    return f"{rejection:014x}".rstrip("0") or "0"


def read(trace_state: str) -> Randomness:
    """The `th` and `rv` of a `tracestate`; malformed ones count as absent."""
    value = get_member(trace_state, "ot")
    if value is None:
        return _NOTHING
    fields = dict(field.partition(":")[::2] for field in value.split(";"))
    th, rv = fields.get("th", ""), fields.get("rv", "")
    return Randomness(
        int(th.ljust(_DIGITS, "0"), 16) if _TH.fullmatch(th) else None,
        int(rv, 16) if _RV.fullmatch(rv) else None,
    )


def randomness(trace_id: int, rv: int | None) -> int:
    """R: the explicit randomness, or the last 56 bits of the trace id."""
    return trace_id & _MASK if rv is None else rv


def known_count(trace_state: str, trace_id: int) -> float | None:
    """The adjusted count of a sampled span by its `tracestate`; None where that says none or contradicts itself."""
    if "th:" not in trace_state:
        return None
    th, rv = read(trace_state)
    return None if th is None or randomness(trace_id, rv) < th else adjusted_count(th)


def with_threshold(trace_state: str, rejection: int | None) -> str:
    """`trace_state` with this `th`, or without one for None; `rv`, other well-formed fields and members are kept."""
    if rejection is None and "th:" not in trace_state:
        return trace_state
    fields = [] if rejection is None else [f"th:{encode(rejection)}"]
    fields += [
        field
        for field in (get_member(trace_state, "ot") or "").split(";")
        if _FIELD.fullmatch(field) and not field.startswith("th:")
    ]
    while len(";".join(fields)) > _MAX_ENTRY:
        fields.pop()
    return put_member(trace_state, "ot", ";".join(fields) or None)
