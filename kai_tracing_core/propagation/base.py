"""The contract of a propagator, and reading and writing carriers of any shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, TypeAlias

from kai_tracing_core.trace_context import TraceContext

__all__ = ["Carrier", "Headers", "Propagator", "read_headers"]

Carrier: TypeAlias = Mapping[Any, Any] | Iterable[tuple[Any, Any]]
"""What headers come in: a mapping, a multi-dict, or pairs as ASGI has them; names and values may be bytes."""

Headers: TypeAlias = Mapping[str, list[str]]
"""Header values by lowercase name, in the order of their arrival."""


class Propagator(ABC):
    """One format in which a trace context travels."""

    fields: tuple[str, ...] = ()
    """The (lowercase) names of the headers that it writes."""

    @abstractmethod
    def extract(self, headers: Headers, context: TraceContext | None) -> TraceContext | None:
        """The remote context that `headers` carry, or `context` (what an earlier format found) where they carry none.

        Never raises: a malformed header counts as absent.
        """

    def extract_from(self, carrier: Carrier) -> TraceContext | None:
        """The remote context that a carrier of any shape brings, or None. Never raises."""
        return self.extract(read_headers(carrier), None)

    @abstractmethod
    def inject(self, context: TraceContext, carrier: MutableMapping[str, str]) -> None:
        """Write `context` to the carrier. Nothing is written for what the context does not have."""


def read_headers(carrier: Carrier) -> Headers:
    """The carrier's headers by lowercase name. Names and values that are no text are decoded or left out."""
    headers: dict[str, list[str]] = {}
    try:
        for name, value in _pairs(carrier):
            key = _text(name)
            if key is None:
                continue
            values = value if isinstance(value, (list, tuple)) else (value,)
            texts = [text for text in map(_text, values) if text is not None]
            headers.setdefault(key.lower(), []).extend(texts)
    except Exception:
        return headers
    return headers


def _pairs(carrier: Carrier) -> Iterable[tuple[Any, Any]]:
    # Multi-dicts (httpx, Starlette, aiohttp, werkzeug) give every value of a repeated header only this way.
    for method in ("multi_items", "items"):
        items = getattr(carrier, method, None)
        if callable(items):
            return items()  # type: ignore[no-any-return]
    return carrier


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return value.decode("latin-1") if isinstance(value, bytes) else None
