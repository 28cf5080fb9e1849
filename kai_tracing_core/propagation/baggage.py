"""Baggage: key-value pairs that travel with a trace (W3C Baggage), and the hosts that may see them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from kai_tracing_core.trace_context import TraceContext

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "MAX_BYTES",
    "MAX_MEMBERS",
    "BaggageHosts",
    "BaggageValue",
    "encode_value",
    "fitting",
    "format_baggage",
    "is_token",
    "parse_baggage",
]

MAX_MEMBERS = 64
MAX_BYTES = 8192
"""W3C Baggage, "Limits": so much must be passed on. What does not fit is left out, always a whole member."""

_OWS = " \t"
_OCTETS = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]"
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(f"{_OCTETS}*")
_match_member = re.compile(
    rf"[ \t]*({_TOKEN.pattern})[ \t]*=[ \t]*({_VALUE.pattern})[ \t]*(?:;(.*))?", re.DOTALL
).fullmatch
_SAFE = "!#$&'()*+-./:<=>?@[]^_`{|}~"  # baggage-octet without the percent sign, letters and digits

is_token = _TOKEN.fullmatch
"""Whether a text can be a baggage key, or (part of) a header's name (RFC 9110, section 5.6.2)."""


class BaggageValue(str):
    """A value of baggage that came with properties: `properties` is what stood behind it, such as `ttl=60;private`.

    They are passed on as they came. A plain string has none.
    """

    __slots__ = ("properties",)

    properties: str

    def __new__(cls, value: str, properties: str = "") -> Self:
        """Make one from the decoded value and the properties as they are encoded."""
        self = super().__new__(cls, value)
        self.properties = properties
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        return type(self), (str(self), self.properties)


def parse_baggage(values: Sequence[str]) -> dict[str, str]:
    """The entries that one or several `baggage` headers carry, percent-decoded, those with properties `BaggageValue`s.

    Malformed members are left out; of several with one key the last counts. Bytes that are no UTF-8 become U+FFFD.
    """
    members = (member for value in values for member in value.split(","))
    entries = dict(entry for member in members if (entry := _parse_member(member)) is not None)
    if len(entries) <= MAX_MEMBERS and sum(map(len, values)) + len(values) <= MAX_BYTES:
        return entries
    return {key: value for key, value, _ in fitting(entries)}


def _parse_member(member: str) -> tuple[str, str] | None:
    match = _match_member(member)
    if match is None:
        return None
    key, value, properties = match.groups()
    text = _unquote(value) if "%" in value else value
    if properties:
        kept = ";".join(name for name in map(_parse_property, properties.split(";")) if name)
        return key, BaggageValue(text, kept) if kept else text
    return key, text


def _unquote(value: str) -> str:
    from urllib.parse import unquote

    return unquote(value)


def _parse_property(text: str) -> str | None:
    """A property without the blanks in it, still percent-encoded; None where it is malformed."""
    key, separator, value = text.partition("=")
    key, value = key.strip(_OWS), value.strip(_OWS)
    if not is_token(key) or not _VALUE.fullmatch(value):
        return None
    return f"{key}={value}" if separator else key


def format_baggage(baggage: Mapping[str, str]) -> str:
    """`baggage` as one header value, within the limits; entries whose key is no token are left out."""
    return ",".join(member for _, _, member in fitting(baggage))


def _format_member(key: str, value: str) -> str:
    properties = getattr(value, "properties", "")
    return f"{key}={encode_value(value)};{properties}" if properties else f"{key}={encode_value(value)}"


def encode_value(value: str) -> str:
    """`value` with what a header cannot hold percent-encoded; the percent sign too."""
    from urllib.parse import quote  # which nobody without baggage needs

    return quote(value, _SAFE, errors="replace")


def fitting(baggage: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Key, value and encoded member of the entries that a header has room for, those that come first."""
    count, room = MAX_MEMBERS, MAX_BYTES + 1
    for key, value in baggage.items():
        if isinstance(key, str) and isinstance(value, str) and is_token(key):
            member = _format_member(key, value)
            if count and len(member) < room:
                count -= 1
                room -= len(member) + 1
                yield key, value, member


class BaggageHosts:
    """The hosts that baggage may be sent to (`TRACING_BAGGAGE_ALLOWED_HOSTS`).

    A pattern is a host's name or address, in any case, without a port; `*.example.com` stands for all hosts below
    example.com, `*` for any. None allows every host, an empty list none.
    """

    def __init__(self, patterns: Iterable[str] | None = None) -> None:
        self._patterns = None if patterns is None else tuple(map(_normal, patterns))

    def baggage_allowed(self, host: str | None) -> bool:
        """Whether baggage may go to `host`; not to an unknown one where the hosts are limited."""
        if self._patterns is None:
            return True
        name = _normal(host or "")
        return bool(name) and any(fnmatchcase(name, pattern) for pattern in self._patterns)

    def limit(self, context: TraceContext, host: str | None) -> TraceContext:
        """What of `context` may go to `host`: all of it, or all but its baggage."""
        if not context.baggage or self.baggage_allowed(host):
            return context
        return TraceContext(
            context._trace_id,
            context._span_id,
            context._flags,
            context._trace_state,
            is_remote=context.is_remote,
        )


def _normal(host: str) -> str:
    """The host alone, in lowercase: without a port, brackets and the root's dot."""
    host = host.strip().lower()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    return host.rstrip(".")
