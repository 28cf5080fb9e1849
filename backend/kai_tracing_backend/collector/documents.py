"""JSON that strangers sent, and what is read off its objects; every fault is a ValueError that names the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from kai_tracing_backend.values import integer, text

__all__ = ["identifier", "load", "mapping", "microseconds", "objects", "string", "unsigned"]

_MAX_OBJECTS = 3_000_000  # what 64 MiB of real spans come to; each costs hundreds of bytes
_MAX_MICROSECONDS = ((1 << 63) - 1) // 1_000


def load(body: bytes) -> Any:
    """What a body says.

    Raises:
        ValueError: it is empty or not JSON, is nested too deeply, or has more objects and lists than spans have.
    """
    if not body:
        raise ValueError("the body is empty")
    if body.count(b"{") + body.count(b"[") > _MAX_OBJECTS:
        raise ValueError(f"the JSON has more than {_MAX_OBJECTS} objects and lists: send fewer spans at once")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error


def objects(document: object, name: str) -> list[Mapping[str, Any]]:
    """A list of objects; an absent one is empty."""
    items = document.get(name) or [] if isinstance(document, Mapping) else None
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise ValueError(f"{name} must be a list of objects")
    return items


def mapping(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object; an absent one is empty."""
    found = document.get(name) or {}
    if not isinstance(found, Mapping):
        raise ValueError(f"{name} must be an object")
    return found


def string(document: Mapping[str, Any], name: str) -> str:
    """A text; an absent one is empty."""
    found = document.get(name)
    return "" if found is None else text(found)


def unsigned(document: Mapping[str, Any], name: str, highest: int) -> int:
    """An integer from 0 to `highest`; an absent one is 0."""
    found = document.get(name)
    try:
        return 0 if found is None else integer(found, 0, highest)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def microseconds(document: Mapping[str, Any], name: str) -> int:
    """Microseconds, in nanoseconds; fractions of one are left out."""
    found = document.get(name)
    if isinstance(found, float) and isfinite(found):
        document = {name: int(found)}  # OpenTelemetry's exporter for Zipkin in JavaScript sends fractions
    return unsigned(document, name, _MAX_MICROSECONDS) * 1_000


def identifier(document: Mapping[str, Any], name: str, size: int = 0) -> bytes:
    """An id in hexadecimal; one of less than `size` bytes has zeros on the left. An absent one is empty."""
    found = string(document, name)
    try:
        return bytes.fromhex(found.rjust(2 * size, "0")) if found else b""
    except ValueError as error:
        said = f": it has {len(found)} digits" if len(found) > 2 * size and len(found) % 2 else ""
        raise ValueError(f"{name} must be hexadecimal{said}") from error
