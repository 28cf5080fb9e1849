"""The settings of the provider: `TRACING_JSONLINES__*`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, PositiveInt

from kai_tracing_core import ProviderSettings

__all__ = ["JsonLinesSettings"]


class JsonLinesSettings(ProviderSettings):
    """Where the lines go."""

    section: ClassVar[str] = "jsonlines"

    path: Path = Field(default=Path("spans.jsonl"), description="The file that spans are appended to.")
    max_bytes: PositiveInt = Field(default=100 * 1024 * 1024, description="Its size, beyond which spans are dropped.")
