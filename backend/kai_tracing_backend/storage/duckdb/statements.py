"""The SQL statements: one in each file of `sql/`, constant, every value a parameter."""

from __future__ import annotations

import re
from importlib.resources import files

__all__ = ["statement"]

_FOLDER = files("kai_tracing_backend.storage.duckdb") / "sql"
_TEXTS = {entry.name.partition(".")[0]: entry.read_text() for entry in _FOLDER.iterdir() if entry.name.endswith(".sql")}
_INCLUDE = re.compile(r"/\* include (\w+) \*/")


def _whole(text: str) -> str:
    return _INCLUDE.sub(lambda found: _whole(_TEXTS[found[1]]), text)


_WHOLE = {name: _whole(text) for name, text in _TEXTS.items()}


def statement(name: str, /, **parts: str) -> str:
    """The text of `sql/<name>.sql`, with the texts that it includes.

    `parts` are put into the places `/* part */` that it has for them: expressions and names of this package's own.
    """
    text = _WHOLE[name]
    for place, part in parts.items():
        text = text.replace(f"/* {place} */", part)
    return text
