"""OTLP's numbers in words."""

from __future__ import annotations

from typing import get_args

from kai_tracing_backend.api.v1.models import SpanKind, SpanStatus

__all__ = ["kind_word", "status_word"]

_KINDS: tuple[SpanKind, ...] = get_args(SpanKind)
_STATUSES: tuple[SpanStatus, ...] = get_args(SpanStatus)


def kind_word(number: int) -> SpanKind:
    """What a span is in a call."""
    return _KINDS[number]


def status_word(number: int) -> SpanStatus:
    """How a span ended."""
    return _STATUSES[number]
