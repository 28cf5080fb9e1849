"""The documentation's table of settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from kai_tracing_core.settings import TracingSettings
from kai_tracing_core.settings_model import fields

_ROOT = Path(__file__).parents[2]


def test_up_to_date() -> None:
    """docs/guides/configuration.md has the table that the models give."""
    done = subprocess.run(
        [sys.executable, str(_ROOT / "tools" / "settings_table.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_everything_is_described() -> None:
    """Every setting says what it means."""
    assert [setting for setting, field in fields(TracingSettings) if not field.description] == []
