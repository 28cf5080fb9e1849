"""Attributes in OTLP's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def decode(attributes: Any) -> dict[str, Any]:
    """OTLP's JSON attributes as plain values."""
    return {attribute["key"]: decode_value(attribute["value"]) for attribute in attributes}


def decode_value(value: Mapping[str, Any]) -> Any:
    """One of OTLP's JSON values; a 64-bit integer comes as a string, an absent value is None."""
    if not value:
        return None
    ((kind, content),) = value.items()
    if kind == "arrayValue":
        return [decode_value(item) for item in content.get("values", ())]
    return int(content) if kind == "intValue" else content
