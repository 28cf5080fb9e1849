"""Writes the tables of settings into the documentation, from the models. `--check` only compares.

Run it after a change of the models: `.venv/bin/python tools/settings_table.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path

from kai_tracing_backend.settings import BackendSettings
from kai_tracing_backend.settings import variable as backend_variable

from kai_tracing_core.settings import TracingSettings
from kai_tracing_core.settings_model import Field, fields
from kai_tracing_core.settings_sources import variable

DOCS = Path(__file__).parents[1] / "docs"
START = "<!-- settings: made by tools/settings_table.py -->"
END = "<!-- end of settings -->"


def core() -> Iterator[str]:
    """The lines of a table of the core's settings."""
    yield "| variable | meaning | default | `OTEL_*` |"
    yield "| --- | --- | --- | --- |"
    for setting, field in fields(TracingSettings):
        names = ", ".join(f"`{name}`" for name in TracingSettings.otel_names.get(setting, ()))
        yield f"| `{variable(setting)}` | {_meaning(field)} | {_default(field)} | {names} |"


def backend() -> Iterator[str]:
    """The lines of a table of the backend's settings."""
    yield "| variable | meaning | default |"
    yield "| --- | --- | --- |"
    for setting, field in fields(BackendSettings):
        yield f"| `{backend_variable(setting)}` | {_meaning(field)} | {_default(field)} |"


PAGES: dict[str, Callable[[], Iterator[str]]] = {"guides/configuration.md": core, "backend/settings.md": backend}


def _meaning(field: Field) -> str:
    return (field.description or "").replace("|", "\\|")


def _default(field: Field) -> str:
    value = field.default
    if value is None or value in ("", (), {}, []):
        return ""
    if isinstance(value, Enum):
        value = value.value
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def main() -> int:
    """Write the pages, or say which is not up to date."""
    stale = []
    for name, lines in PAGES.items():
        page = DOCS / name
        text = page.read_text("utf-8")
        before, _, rest = text.partition(START)
        _, _, after = rest.partition(END)
        made = "\n".join([f"{before}{START}", "", *lines(), "", f"{END}{after}"])
        if made == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv[1:]:
            page.write_text(made, "utf-8")
    if stale and "--check" in sys.argv[1:]:
        print(f"{', '.join(stale)}: not up to date, run tools/settings_table.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
