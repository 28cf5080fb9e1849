"""The SQL statements: one in each file of `sql/`, constant, every value a parameter."""

from __future__ import annotations

from importlib.resources import files

from kai_tracing_backend.columns import MAPS, PROMOTED

__all__ = ["attribute_condition", "statement"]

_FOLDER = files("kai_tracing_backend.storage.duckdb") / "sql"
_TEXTS = {entry.name.partition(".")[0]: entry.read_text() for entry in _FOLDER.iterdir() if entry.name.endswith(".sql")}


def statement(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return _TEXTS[name]


def attribute_condition(key: str, value: object, index: int) -> tuple[str, dict[str, object]]:
    """`AND` an attribute is this, with its parameters, whose names end with `index`.

    What is not a parameter is this package's own: the names in `PROMOTED` and `MAPS`.
    """
    kind = type(value)
    if PROMOTED.get(key) is kind:
        return f'AND "{key}" = $value{index}', {f"value{index}": value}
    return f"AND {MAPS[kind]}[$key{index}] = $value{index}", {f"key{index}": key, f"value{index}": value}
