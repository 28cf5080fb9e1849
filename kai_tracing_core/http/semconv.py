"""What both sides need of the HTTP semantic conventions (OpenTelemetry semantic conventions 1.44, "HTTP spans")."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Any

__all__ = ["HeaderCapture", "default_port", "method_attributes", "path_filter", "server_of", "size"]

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"))


def method_attributes(method: str, attributes: dict[str, Any]) -> str:
    """Set `http.request.method`; returns what the span's name starts with.

    A method that is not a standard one is `_OTHER`, and `HTTP` in the name, lest a client that makes up methods make
    up names; what it said is kept as `http.request.method_original`.
    """
    if method in _METHODS:
        attributes["http.request.method"] = method
        return method
    attributes["http.request.method"] = "_OTHER"
    attributes["http.request.method_original"] = method
    return "HTTP"


def default_port(scheme: str) -> int:
    """The port that a URL without one means."""
    return 443 if scheme in ("https", "wss") else 80


@lru_cache(maxsize=256)
def server_of(host: str, scheme: str) -> tuple[str, int]:
    """Name and port that a Host header says (RFC 9110, section 7.2)."""
    name, _, port = host.rpartition(":")
    number = size(port) if name else None
    if number is None:
        name, number = host, default_port(scheme)
    return name.strip("[]"), number


def size(text: str | bytes | None) -> int | None:
    """The number that a header such as Content-Length has; None where it has none that could be meant."""
    return int(text) if text and text.isdigit() and text.isascii() and len(text) < 19 else None


def path_filter(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a path matches one of the glob patterns, such as `/health*`."""
    patterns = tuple(patterns)
    if not patterns:
        return lambda path: False  # noqa: ARG005 - the signature is the other branch's
    matcher = re.compile("|".join(translate(pattern) for pattern in patterns))
    return lambda path: matcher.match(path) is not None


class HeaderCapture:
    """Chosen headers as attributes `http.request.header.<name>` or `http.response.header.<name>`, each a list.

    What they hold passes the redaction like every attribute: `authorization` and its like stay secret.
    """

    __slots__ = ("_keys",)

    def __init__(self, side: str, names: Sequence[str]) -> None:
        """`side` is `request` or `response`; names in any case."""
        self._keys = {name.lower(): f"http.{side}.header.{name.lower()}" for name in names}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def read(self, headers: Iterable[tuple[Any, Any]]) -> dict[str, list[str]]:
        """The attributes for the chosen ones of these headers, whose names and values may be bytes."""
        found: dict[str, list[str]] = {}
        for name, value in headers:
            key = self._keys.get((name.decode("latin-1") if isinstance(name, bytes) else name).lower())
            if key is not None:
                found.setdefault(key, []).append(value.decode("latin-1") if isinstance(value, bytes) else value)
        return found
