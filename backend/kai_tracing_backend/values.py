"""Attribute values: Python's str, bool, int, float, bytes, None, list and dict for OTLP's `AnyValue`, and their text.

What has no column of its own type is kept as OTLP's JSON (opentelemetry-proto, "JSON Protobuf Encoding"), which says
the type of every part: an integer is no double, bytes are no string, and NaN is NaN.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

__all__ = [
    "MAX_DEPTH",
    "Value",
    "attributes_from_otlp",
    "dump",
    "dump_attributes",
    "from_otlp",
    "integer",
    "load",
    "load_attributes",
    "plain",
    "text",
    "to_otlp",
]

Value: TypeAlias = "str | bool | int | float | bytes | list[Any] | dict[str, Any] | None"

MAX_DEPTH = 16
"""How deeply arrays and maps may stand in one another."""

_INT64 = 1 << 63
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def text(value: object) -> str:
    """A string that can be stored: what is not Unicode (a lone surrogate) becomes U+FFFD.

    Raises:
        ValueError: it is no string.
    """
    if not isinstance(value, str):
        raise ValueError(f"a string is expected, not {type(value).__name__}")
    if value.isascii():
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def to_otlp(value: Value) -> dict[str, Any]:
    """The value as OTLP's JSON says it."""
    if value is None:
        return {}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        if math.isfinite(value):
            return {"doubleValue": value}
        return {"doubleValue": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, list):
        return {"arrayValue": {"values": [to_otlp(item) for item in value]}}
    return {"kvlistValue": {"values": [{"key": key, "value": to_otlp(item)} for key, item in value.items()]}}


def plain(value: Value) -> str:
    """The value as text for formats that know text only: lists and maps as JSON, bytes in base64, nothing as "".

    Other than `dump`, it does not tell 200 from "200".
    """
    if isinstance(value, str):
        return value
    found = _simple(value)
    return "" if found is None else found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _simple(value: Value) -> Any:
    """The value as JSON has it, which knows neither bytes nor NaN."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return to_otlp(value)["doubleValue"]
    if isinstance(value, list):
        return [_simple(item) for item in value]
    if isinstance(value, dict):
        return {key: _simple(item) for key, item in value.items()}
    return value


def from_otlp(document: object, depth: int = 0) -> Value:  # noqa: C901 - one branch for each type
    """What an `AnyValue` in OTLP's JSON says.

    Raises:
        ValueError: it says nothing that OTLP knows, an integer of more than 64 bits, or is nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"values are nested more than {MAX_DEPTH} deep")
    if not isinstance(document, Mapping):
        raise ValueError("an attribute's value must be an object such as {'stringValue': …}")
    for kind, value in document.items():
        if value is None:
            continue
        if kind == "stringValue":
            return text(value)
        if kind == "boolValue":
            if not isinstance(value, bool):
                raise ValueError("boolValue must be true or false")
            return value
        if kind == "intValue":
            return integer(value, -_INT64, _INT64 - 1)
        if kind == "doubleValue":
            return _double(value)
        if kind == "bytesValue":
            return base64.b64decode(text(value), validate=True)
        if kind == "arrayValue":
            return [from_otlp(item, depth + 1) for item in _values(value)]
        if kind == "kvlistValue":
            return attributes_from_otlp(_values(value), depth + 1)
    return None


def attributes_from_otlp(items: object, depth: int = 0) -> dict[str, Value]:
    """A list of `KeyValue` in OTLP's JSON; of a repeated key the last value holds. Raises ValueError as above."""
    if items is None:
        return {}
    if not isinstance(items, list):
        raise ValueError("attributes must be a list")
    attributes: dict[str, Value] = {}
    for item in items:
        if not isinstance(item, Mapping):
            raise ValueError("an attribute must be an object with key and value")
        attributes[text(item.get("key", ""))] = from_otlp(item.get("value") or {}, depth)
    return attributes


def integer(value: object, lowest: int, highest: int) -> int:
    """An integer as JSON has it: a number, or a string for 64 bits. Raises ValueError where it is none or too large."""
    if (isinstance(value, str) and len(value) <= 20) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("an integer is expected")
    if not lowest <= value <= highest:
        raise ValueError(f"{value} is not between {lowest} and {highest}")
    return value


def _double(value: object) -> float:
    if isinstance(value, str) and value in _SPECIAL:
        return _SPECIAL[value]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("doubleValue must be a number")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError("doubleValue is too large") from error


def _values(document: object) -> list[Any]:
    values = document.get("values", []) if isinstance(document, Mapping) else None
    if not isinstance(values, list):
        raise ValueError("arrayValue and kvlistValue must have a list of values")
    return values


def dump(value: Value) -> str:
    """The value as text, exactly."""
    return json.dumps(to_otlp(value), separators=(",", ":"), ensure_ascii=False)


def load(document: str) -> Value:
    """What `dump` made of a value."""
    return from_otlp(json.loads(document), -1_000)  # it was checked when it came


def dump_attributes(attributes: Mapping[str, Value]) -> str:
    """Attributes as text, exactly: the same attributes give the same text whatever their order."""
    pairs = {key: to_otlp(attributes[key]) for key in sorted(attributes)}
    return json.dumps(pairs, separators=(",", ":"), ensure_ascii=False)


def load_attributes(document: str) -> dict[str, Value]:
    """What `dump_attributes` made of attributes."""
    return {key: from_otlp(value, -1_000) for key, value in json.loads(document).items()}
