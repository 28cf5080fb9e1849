"""Regular expressions: RE2's, whose time is linear in the text, so that no expression of a user can hang a search."""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["MAX_REGEX", "check_regex", "full_match"]

MAX_REGEX = 1_000
"""Of a regular expression, in characters."""


def check_regex(pattern: str) -> str | None:
    """What is wrong with the expression; None when nothing is."""
    if len(pattern) > MAX_REGEX:
        return f"a regular expression has at most {MAX_REGEX} characters"
    try:
        pc.match_substring_regex(pa.array([""]), pattern=pattern)
    except pa.ArrowInvalid as error:
        reason = str(error).partition("regular expression: ")[2] or str(error)
        return f"this is no regular expression (RE2): {reason}"
    return None


@lru_cache(maxsize=10_000)
def full_match(pattern: str, text: str) -> bool:
    """Whether the whole text fits the expression."""
    return bool(pc.match_substring_regex(pa.array([text]), pattern=rf"\A(?:{pattern})\z")[0].as_py())
