"""Lists in pages. A cursor says after what the next one goes on: what comes or goes meanwhile repeats nothing."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable
from typing import TypeVar

from kai_tracing_backend.api.parameters import ParameterError

__all__ = ["page"]

T = TypeVar("T")


def page(
    items: Iterable[T], key: Callable[[T], tuple[str | int, ...]], limit: int, cursor: str | None
) -> tuple[list[T], str | None]:
    """Of the items by their keys, which differ, `limit` after the cursor; and the cursor of what follows, if any does.

    Raises:
        ParameterError: the cursor is not one that this gave for such keys.
    """
    ordered = sorted(items, key=key)
    if cursor is not None:
        after = _read(cursor)
        if ordered and [type(part) for part in after] != [type(part) for part in key(ordered[0])]:
            raise _foreign()
        ordered = [item for item in ordered if key(item) > after]
    chosen = ordered[:limit]
    return chosen, _write(key(chosen[-1])) if len(ordered) > limit else None


def _write(key: tuple[str | int, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def _read(cursor: str) -> tuple[str | int, ...]:
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise _foreign() from error
    if not isinstance(found, list):
        raise _foreign()
    return tuple(found)


def _foreign() -> ParameterError:
    return ParameterError("cursor", "is none that an answer to this request had")
