"""Attribute values: what may be one, how others become one, and how many and how long they may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from kai_tracing_core.records import NamedTuple

__all__ = ["Attributes", "AttributeValue", "SpanLimits", "clean_attributes", "clean_value"]

AttributeValue: TypeAlias = str | bool | int | float | Sequence[str] | Sequence[bool] | Sequence[int] | Sequence[float]
Attributes: TypeAlias = Mapping[str, AttributeValue]

_SCALARS = frozenset((str, bool, int, float))
_INT64_MAX = 2**63
_PLAIN: tuple[tuple[type, Callable[[Any], Any]], ...] = ((str, str.__str__), (int, int), (float, float))


class SpanLimits(NamedTuple):
    """How much one span may hold (OpenTelemetry specification, SDK, "Span limits").

    What goes over is dropped and counted on the span (`Span.dropped_attributes` and so on), which the OTLP export
    carries on. `value_length` and `span_bytes` are in characters and bytes; None is unlimited.
    """

    attributes: int = 128
    events: int = 128
    links: int = 128
    event_attributes: int = 128
    link_attributes: int = 128
    value_length: int | None = None
    span_bytes: int | None = None


def clean_value(value: Any, length: int | None = None) -> AttributeValue | None:
    """`value` as an attribute value, or None where it cannot be one.

    Strings, booleans, integers and floats, and homogeneous sequences of them, are kept. Integers beyond 64 bits
    become strings, bytes are decoded (U+FFFD for what is not UTF-8), enumeration members of a plain type become that
    type, tuples, sets and generators of scalars become lists, mixed ones lists of strings; anything else becomes its
    `str()`, as a log line would show it. None, and values whose `str()` raises, are dropped.
    """
    kind = type(value)
    if kind is str:
        if length is not None and len(value) > length:
            value = value[:length]
        return value if value.isascii() else _valid_unicode(value)
    if kind is bool or kind is float:
        return value  # type: ignore[no-any-return]  # its class was just asked for
    if kind is int:
        return value if -_INT64_MAX <= value < _INT64_MAX else clean_value(str(value), length)
    return _convert(value, length)


def _convert(value: Any, length: int | None) -> AttributeValue | None:
    if value is None:
        return None
    try:
        if isinstance(value, (bytes, bytearray, memoryview)):
            return clean_value(bytes(value).decode("utf-8", "replace"), length)
        # The base's own conversion: str() of an enumeration's member would be its name.
        for plain, convert in _PLAIN:
            if isinstance(value, plain):
                return clean_value(convert(value), length)
        if isinstance(value, (list, tuple, set, frozenset)):
            return _clean_sequence(value, length)
        return clean_value(str(value), length)
    except Exception:
        return None


def _clean_sequence(values: Any, length: int | None) -> Sequence[Any]:
    cleaned = [clean_value(item, length) for item in values]
    kinds = {type(item) for item in cleaned if item is not None}
    if kinds == {int, float}:
        return [float(item) if item is not None else math.nan for item in cleaned]  # type: ignore[arg-type]  # numbers and None alone
    if len(kinds) > 1 or not kinds <= _SCALARS or (None in cleaned and kinds != {str}):
        return [str(item) for item in cleaned]
    return ["" if item is None else item for item in cleaned]


def _valid_unicode(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:  # lone surrogates, as os.fsdecode makes them
        return value.encode("utf-8", "replace").decode()
    return value


def clean_attributes(
    attributes: Mapping[str, Any], limit: int = 128, length: int | None = None
) -> tuple[dict[str, AttributeValue], int]:
    """The attributes that can be exported, in their order, and how many were dropped.

    Dropped are those past the first `limit`, with an empty or non-string key, or with a value that `clean_value`
    cannot make one of.
    """
    cleaned: dict[str, AttributeValue] = {}
    for key, value in attributes.items():
        if len(cleaned) >= limit:
            break
        kind = type(value)
        # What most attributes are is told without a call.
        if (type(key) is str and key and key.isascii()) and (
            (kind is str and length is None and value.isascii()) or (kind is int and -_INT64_MAX <= value < _INT64_MAX)
        ):
            cleaned[key] = value
        elif isinstance(key, str) and key and (clean := clean_value(value, length)) is not None:
            cleaned[_valid_unicode(key)] = clean
    return cleaned, len(attributes) - len(cleaned)
