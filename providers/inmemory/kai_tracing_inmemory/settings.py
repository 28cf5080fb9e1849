"""Its settings: `TRACING_INMEMORY__*`."""

from __future__ import annotations

from typing import ClassVar

from kai_tracing_core.settings import ProviderSettings, setting

__all__ = ["InMemorySettings"]


class InMemorySettings(ProviderSettings):
    """What the in-memory provider can be told."""

    section: ClassVar[str] = "inmemory"

    capacity: int = setting(
        default=10_000,
        ge=1,
        description="Finished spans that are kept; beyond that the oldest make room, and are counted as dropped.",
    )
