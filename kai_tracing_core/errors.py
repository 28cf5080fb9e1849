"""What goes wrong before tracing runs."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["ConfigurationError", "did_you_mean", "nearest"]


class ConfigurationError(ValueError):
    """The settings or the installed plugins do not fit together.

    Raised at start-up only. The message names the setting, where its value came from, the value (a secret is
    redacted), and the way out.
    """


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `name` was probably meant to be, or None."""
    import difflib

    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest of `known`, with a space before it; empty where none is near."""
    match = nearest(name, known)
    return f" Did you mean {match}?" if match else ""
