"""`opentelemetry-instrument` with `OTEL_PYTHON_TRACER_PROVIDER=kai_tracing`.

Of the configurators that are installed `opentelemetry-instrument` runs one, whichever it finds first, and the SDK's
sets the global TracerProvider whatever `OTEL_PYTHON_TRACER_PROVIDER` says. So this package has a configurator that
does as the SDK's unless it was chosen, and a hook that puts the choice right where the SDK's came first.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from opentelemetry import trace as trace_api

from kai_tracing_opentelemetry import bridge

__all__ = ["Configurator", "take_over"]

logger = logging.getLogger(__name__)

_NAME = "kai_tracing"
_CHOICES = ("OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_CONFIGURATOR")


def _chosen() -> bool:
    return any(os.environ.get(name) == _NAME for name in _CHOICES)


def _expected(record: logging.LogRecord) -> bool:
    return "Overriding" not in record.getMessage()


class Configurator:
    """Sets up this project's spans, and the SDK's metrics and logs, if chosen; the SDK otherwise."""

    def configure(self, **options: Any) -> None:
        """Called once by `opentelemetry-instrument`, before the instrumentations."""
        from opentelemetry.sdk._configuration import _OTelSDKConfigurator

        sdk: Any = _OTelSDKConfigurator
        configure = sdk().configure
        if not _chosen():
            configure(**options)
            return
        take_over()
        os.environ["OTEL_TRACES_EXPORTER"] = "none"  # spans are exported as TRACING_TYPE says
        api = logging.getLogger(trace_api.__name__)
        api.addFilter(_expected)
        try:
            configure(**options)
        except Exception as error:
            logger.warning("OpenTelemetry's metrics and logs are not set up: %s", error)
        finally:
            api.removeFilter(_expected)


def take_over() -> None:
    """Make this project's the global TracerProvider, if it was chosen, in place of one that the SDK has just set."""
    if not _chosen():
        return
    replaced: Any = bridge.foreign_provider()
    if replaced is not None:
        trace_api._TRACER_PROVIDER = bridge.GLOBAL
        replaced.shutdown()
    bridge.tracer_provider()
    if trace_api._TRACER_PROVIDER is None:
        trace_api.set_tracer_provider(bridge.GLOBAL)
