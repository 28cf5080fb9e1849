"""The attribute index of a day's file: in which segments an attribute has a value, so that a search reads only those.

What a conjunction demands (`span.user.id = "u-7" && duration > 1s` demands the first) narrows a day to a few segments:

    segments = segments_with(cursor, "user.id", "u-7")
    if segments is not None:
        for first, last in ranges(segments):
            ...  # WHERE segment BETWEEN $first AND $last AND <the whole condition>

The whole condition must still be asked: fingerprints may collide, rarely. Indexed are all strings and integers among
the attributes of spans that have no column of their own, and those columns whose values are many (`INDEXED`). For what
is not indexed the answer is None; for what no span has, no segment. Recent spans are not indexed yet: the segments that
they will be in are always among the answer. Resources are few: look for them in the table `resources` and compare the
spans' `resource`.
"""

from __future__ import annotations

import hashlib

import duckdb

from kai_tracing_backend.columns import PROMOTED
from kai_tracing_backend.storage.duckdb.segments import SEGMENTS
from kai_tracing_backend.storage.duckdb.statements import statement

__all__ = ["INDEXED", "fingerprint", "segments_with"]

INDEXED = ("url.path", "url.full", "http.url", "http.target", "client.address", "db.query.text", "db.statement")
"""Columns of their own that are in the index; the others have few values, and are quickly read as they are."""

_MASK = (1 << 28) - 1  # a day of 100 million values has a third of a false segment for each that is asked for
_TEXT, _NUMBER, _OTHER = "\x1f", "\x1e", "\x1d"


def fingerprint(key: str, value: str | int | None) -> int:
    """The number that stands for an attribute's value, None for any array, map or bytes.

    `sql/write_attributes.sql` makes the same.
    """
    kind = _TEXT if isinstance(value, str) else _NUMBER if isinstance(value, int) else _OTHER
    entry = f"{key}{kind}{'' if value is None else value}"
    digest = hashlib.md5(entry.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[8:], "little") & _MASK


def segments_with(cursor: duckdb.DuckDBPyConnection, key: str, value: object) -> list[int] | None:
    """The segments of a day's file that may have a span with this attribute, or with it in an array.

    None where the index does not know.
    """
    if type(value) not in (str, int) or (PROMOTED.get(key) is type(value) and key not in INDEXED):
        return None
    assert isinstance(value, (str, int))  # noqa: S101 - for the type checker; the line above has looked
    parameters = {"value": fingerprint(key, value), "other": fingerprint(key, None), "segments": SEGMENTS}
    rows = cursor.execute(statement("segments_with"), parameters).fetchall()
    return [segment for (segment,) in rows]
