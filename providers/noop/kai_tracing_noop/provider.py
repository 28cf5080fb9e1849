"""The provider that records nothing; it is core's own, which also serves a service that is disabled."""

from __future__ import annotations

from kai_tracing_core.noop import NoopProvider

__all__ = ["NoopProvider"]
