"""JSON that strangers sent."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["load"]

_MAX_OBJECTS = 3_000_000  # what 64 MiB of real spans come to; each costs hundreds of bytes


def load(body: bytes) -> Any:
    """What a body says.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or has more objects and lists than spans have.
    """
    if body.count(b"{") + body.count(b"[") > _MAX_OBJECTS:
        raise ValueError(f"the JSON has more than {_MAX_OBJECTS} objects and lists: send fewer spans at once")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
