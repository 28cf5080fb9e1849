"""Log records as span events, for as long as a provider is in use."""

from __future__ import annotations

import logging

from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.provider import TracingProvider
from kai_tracing_core.telemetry.logs import SpanEventHandler

__all__ = ["LogEvents"]


class LogEvents(SpanProcessor):
    """Has a `SpanEventHandler` on the root logger from now until the provider is shut down."""

    def __init__(self, provider: TracingProvider, level: int | str = logging.WARNING) -> None:
        self._handler = SpanEventHandler(level, provider.get_current_span)
        logging.getLogger().addHandler(self._handler)

    def shutdown(self, timeout: float) -> bool:
        """Remove the handler."""
        logging.getLogger().removeHandler(self._handler)
        return True
