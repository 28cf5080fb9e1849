"""From settings to a running service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kai_tracing_core.noop import NoopProvider

if TYPE_CHECKING:
    from kai_tracing_core.service import TracingService

__all__ = ["configure"]


def configure(service: TracingService) -> None:
    """Configure the service from the environment."""
    service.set_provider(NoopProvider())
