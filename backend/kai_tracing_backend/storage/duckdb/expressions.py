"""SQL expressions put together of constant fragments, every value a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from kai_tracing_backend.columns import MAPS, PROMOTED

__all__ = ["Bounds", "Expressions", "joined", "negated"]


class Bounds(NamedTuple):
    """Two expressions between which a condition is."""

    sure: str
    maybe: str


class Expressions:
    """What makes expressions over a row of `spans`; `parameters` are those of all that it made."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}

    def value(self, value: object) -> str:
        """How an expression names the value."""
        name = f"v{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"

    def attribute(self, key: str, kind: type) -> str:
        """A span's attribute, where it is of this type."""
        return f'"{key}"' if PROMOTED.get(key) is kind else f"{MAPS[kind]}[{self.value(key)}]"

    def one_of(self, column: str, numbers: Sequence[int]) -> str:
        """The column, an integer, is one of the numbers."""
        return f"list_contains({self.value(list(numbers))}::INTEGER[], {column})"


def negated(text: str) -> str:
    """True where an expression is false, or NULL."""
    return {"TRUE": "FALSE", "FALSE": "TRUE"}.get(text, f"(({text}) IS NOT TRUE)")


def joined(word: str, neutral: str, terms: Sequence[str]) -> str:
    """The terms with a word between them; `neutral` changes nothing, and its opposite decides."""
    kept = [term for term in dict.fromkeys(terms) if term != neutral]
    if negated(neutral) in kept:
        return negated(neutral)
    if len(kept) < 2:
        return kept[0] if kept else neutral
    return f"({f' {word} '.join(f'({term})' for term in kept)})"
