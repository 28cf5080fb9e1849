"""The SQL statements: one in each file of `sql/`, constant, every value a parameter."""

from __future__ import annotations

from importlib.resources import files

__all__ = ["statement"]

_FOLDER = files("kai_tracing_backend.storage.duckdb") / "sql"
_TEXTS = {entry.name.partition(".")[0]: entry.read_text() for entry in _FOLDER.iterdir() if entry.name.endswith(".sql")}


def statement(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return _TEXTS[name]
