"""The settings of the provider: `TRACING_JSONLINES__*`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from kai_tracing_core import ProviderSettings
from kai_tracing_core.settings import setting

__all__ = ["JsonLinesSettings"]


class JsonLinesSettings(ProviderSettings):
    """Where the lines go."""

    section: ClassVar[str] = "jsonlines"

    path: Path = setting(default=Path("spans.jsonl"), description="The file that spans are appended to.")
    max_bytes: int = setting(default=100 * 1024 * 1024, gt=0, description="Its size, beyond which spans are dropped.")
