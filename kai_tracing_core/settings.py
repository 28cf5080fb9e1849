"""The settings."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

__all__ = ["ProviderSettings", "TracingSettings"]


class ProviderSettings(BaseModel):
    """A provider's own section of the settings: `TRACING_<SECTION>__<FIELD>`, or a table of that name in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    section: ClassVar[str]
    """The section's name; that of the provider."""

    otel_names: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """By field, the `OTEL_*` variables that are honoured for it; the first that is set wins."""


S = TypeVar("S", bound=ProviderSettings)


class TracingSettings(BaseModel):
    """Everything that `TRACING_*` can say."""

    enabled: bool = True
    type: str = "noop"
    service_name: str = "unknown_service"

    def section(self, model: builtins.type[S]) -> S:
        """The section that `model` describes."""
        return model()
