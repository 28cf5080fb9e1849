"""The `tracestate` list (W3C Trace Context level 2, section 3.3): checking it, and changing one member of it.

A list is kept as the one string that goes into the header, so that passing it on costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["MAX_LENGTH", "MAX_MEMBERS", "get_member", "parse_tracestate", "put_member"]

MAX_MEMBERS = 32
"""Section 3.3.1.3: a list with more members is not valid."""

MAX_LENGTH = 512
"""Section 3.3.1.5: at least so many characters are passed on. More are not: other tracers drop a longer list whole."""

_LONG_MEMBER = 128
_OWS = " \t"
_KEY = re.compile(r"[a-z0-9][a-z0-9_\-*/@]{0,255}")
_VALUE = re.compile(r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_match_member = re.compile(f"({_KEY.pattern})={_VALUE.pattern}").fullmatch


def parse_tracestate(values: Iterable[str]) -> str:
    """The list that one or several `tracestate` headers carry, as one header value; empty where it is not valid.

    Blanks around members and empty members are left out; of members with the same key the first, newest one stays.
    One malformed member, or more than 32, make the whole list invalid. A longer one than 512 characters is shortened.
    """
    joined = ",".join(values)
    if len(joined) <= MAX_LENGTH and _match_member(joined):  # one member, as most are: a third of what the rest takes
        return joined
    members: dict[str, str] = {}
    count = 0
    for part in joined.split(","):
        member = part.strip(_OWS)
        if member:
            match = _match_member(member)
            count += 1
            if match is None or count > MAX_MEMBERS:
                return ""
            members.setdefault(match[1], member)
    return _shorten(list(members.values()))


def _shorten(members: list[str], limit: int = MAX_LENGTH) -> str:
    """The list without what is too much of it: whole members, first the long ones, from the right (section 3.3.1.5)."""
    while members and sum(map(len, members)) + len(members) - 1 > limit:
        long = [position for position, member in enumerate(members) if len(member) > _LONG_MEMBER]
        del members[long[-1] if long else -1]
    return ",".join(members)


def get_member(state: str, key: str) -> str | None:
    """The value of the member with this key, or None."""
    if f"{key}=" not in state:
        return None
    for part in state.split(","):
        name, separator, value = part.strip(_OWS).partition("=")
        if separator and name == key:
            return value
    return None


def put_member(state: str, key: str, value: str | None) -> str:
    """`state` with this member, new or changed, at the left (section 3.5); with value None, without it.

    The others keep their order. Of a 33rd member, or of more than 512 characters, whole members give way, but never
    the one that is put.

    Raises:
        ValueError: the key or the value is not one that a header can have (sections 3.3.1.3.1 and 3.3.1.3.2).
    """
    others = [member for part in state.split(",") if (member := part.strip(_OWS)) and member.split("=")[0] != key]
    if value is None:
        return ",".join(others)
    if not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
        raise ValueError(f"not a tracestate member: {key!r}={value!r}")
    own = f"{key}={value}"
    rest = _shorten(others[: MAX_MEMBERS - 1], MAX_LENGTH - len(own) - 1)
    return f"{own},{rest}" if rest else own
