"""Writes the tables of settings into docs/guides/configuration.md, from the models. `--check` only compares.

Run it after a change of the models: `.venv/bin/python tools/settings_table.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from kai_tracing_core.settings import TracingSettings
from kai_tracing_core.settings_sources import variable
from kai_tracing_core.settings_validation import fields

PAGE = Path(__file__).parents[1] / "docs" / "guides" / "configuration.md"
START = "<!-- settings: made by tools/settings_table.py -->"
END = "<!-- end of settings -->"


def table(model: type[BaseModel]) -> Iterator[str]:
    """The lines of a table of all settings of the model."""
    otel: dict[str, tuple[str, ...]] = getattr(model, "otel_names", {})
    yield "| variable | meaning | default | `OTEL_*` |"
    yield "| --- | --- | --- | --- |"
    for setting, field in fields(model):
        names = ", ".join(f"`{name}`" for name in otel.get(setting, ()))
        default = _shown(field.get_default(call_default_factory=True))
        meaning = (field.description or "").replace("|", "\\|")
        yield f"| `{variable(setting)}` | {meaning} | {default} | {names} |"


def _shown(value: Any) -> str:
    if value is None or value in ("", (), {}, []) or isinstance(value, SecretStr):
        return ""
    if isinstance(value, Enum):
        value = value.value
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def main() -> int:
    """Write the page, or say that it is not up to date."""
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    made = "\n".join([f"{before}{START}", "", *table(TracingSettings), "", f"{END}{after}"])
    if "--check" in sys.argv[1:]:
        if made != text:
            print(f"{PAGE.name} is not up to date: run tools/settings_table.py", file=sys.stderr)
        return int(made != text)
    PAGE.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
