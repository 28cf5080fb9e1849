"""The contract of a propagator, and reading and writing carriers of any shape."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any, TypeAlias

from kai_tracing_core.trace_context import DECISION_ONLY, TraceContext

__all__ = ["Carrier", "Headers", "Propagator", "merge", "read_headers"]

Carrier: TypeAlias = Mapping[Any, Any] | Iterable[tuple[Any, Any]]
"""What headers come in: a mapping, a multi-dict, or pairs as ASGI has them; names and values may be bytes."""

Headers: TypeAlias = Mapping[str, Sequence[str]]
"""Header values by lowercase name, in the order of their arrival; a name that is there has at least one."""


class Propagator(ABC):
    """One format in which a trace context travels."""

    fields: tuple[str, ...] = ()
    """The (lowercase) names of the headers that it reads or writes; `uberctx-*` stands for all that begin so.

    `extract` is given no other headers, or all of them where this is empty.
    """

    @abstractmethod
    def extract(self, headers: Headers, context: TraceContext | None) -> TraceContext | None:
        """The remote context that `headers` carry, or `context` (what an earlier format found) where they carry none.

        Never raises: a malformed header counts as absent. What both found is put together by `merge`.
        """

    def extract_from(self, carrier: Carrier) -> TraceContext | None:
        """The remote context that a carrier of any shape brings, or None. Never raises."""
        if type(carrier) is dict:
            try:
                names = "".join(carrier)
            except TypeError:  # not all of them are texts
                names = "A"
            if names == names.lower():
                return self.extract_plain(carrier, None)
        return self.extract(read_headers(carrier, self.fields), None)

    def extract_plain(self, carrier: dict[str, Any], context: TraceContext | None) -> TraceContext | None:
        """As `extract`, of a plain dictionary without upper-case letters in its names, which need not be copied.

        A format that is read for every request may do better than the default here.
        """
        return self.extract(read_headers(carrier, self.fields), context)

    @abstractmethod
    def inject(self, context: TraceContext, carrier: MutableMapping[str, str]) -> None:
        """Write `context` to the carrier. Nothing is written for what the context does not have."""


def merge(context: TraceContext | None, found: TraceContext) -> TraceContext:
    """What `found` adds to `context`, which an earlier format found; either may be changed for it.

    Ids win over a sampling decision without ids, and that over nothing; between equals the earlier format wins.
    Baggage is added up.
    """
    if context is None:
        return found
    baggage = {**found.baggage, **(context.baggage or {})} if found.baggage else context.baggage
    winner = found if _rank(found) > _rank(context) else context
    winner.baggage = baggage
    return winner


def _rank(context: TraceContext) -> int:
    return 2 if context.is_valid else 1 if context._flags & DECISION_ONLY else 0


def read_headers(carrier: Carrier, fields: tuple[str, ...] = ()) -> Headers:
    """The carrier's headers by lowercase name; only those that `fields` name, as `Propagator.fields` does.

    Names and values that are no text are decoded (bytes, as Latin-1) or left out. Never raises.
    """
    names, prefixes = _wanted(fields)
    everything = not fields
    headers: dict[str, list[str]] = {}
    try:
        for name, value in _pairs(carrier):
            if isinstance(name, (str, bytes)):
                key = names.get(name.lower())
                if key is None and (everything or prefixes):
                    key = _text(name.lower()) or ""
                    if not everything and not key.startswith(prefixes):
                        continue
                if key is not None:
                    _add(headers, key, value)
    except Exception:  # a carrier of the caller's own making may raise anything; what was read until then counts
        return headers
    return headers


@functools.lru_cache(maxsize=64)
def _wanted(fields: tuple[str, ...]) -> tuple[dict[str | bytes, str], tuple[str, ...]]:
    names = [field for field in fields if not field.endswith("*")]
    prefixes = tuple(field[:-1] for field in fields if field.endswith("*"))
    return {spelling: name for name in names for spelling in (name, name.encode())}, prefixes


def _add(headers: dict[str, list[str]], name: str, value: Any) -> None:
    values = value if isinstance(value, (list, tuple)) else (value,)
    texts = [text for text in map(_text, values) if text is not None]
    if texts:
        headers.setdefault(name, []).extend(texts)


def _pairs(carrier: Carrier) -> Iterable[tuple[Any, Any]]:
    # Multi-dicts (httpx, Starlette, aiohttp, werkzeug) give every value of a repeated header only this way.
    for method in ("multi_items", "items"):
        items = getattr(carrier, method, None)
        if callable(items):
            return items()  # type: ignore[no-any-return]  # from getattr
    return carrier


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    return value.decode("latin-1") if isinstance(value, bytes) else None
