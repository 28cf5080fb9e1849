"""One tracing API for Python services; `TRACING_TYPE` chooses the backend behind it."""

from typing import TYPE_CHECKING

from kai_tracing_core.lazy import lazy_exports
from kai_tracing_core.provider import RecordingProvider, TracingProvider
from kai_tracing_core.service import TracingService, tracing
from kai_tracing_core.span import Link, Span, SpanKind, SpanOptions, SpanResult, SpanStatusCode
from kai_tracing_core.trace_context import TraceContext

if TYPE_CHECKING:
    from kai_tracing_core.errors import ConfigurationError
    from kai_tracing_core.hookspecs import hookimpl
    from kai_tracing_core.initializer import initialize_tracing
    from kai_tracing_core.plugins import register_plugin
    from kai_tracing_core.settings import ProviderSettings, TracingSettings

__all__ = [
    "ConfigurationError",
    "Link",
    "ProviderSettings",
    "RecordingProvider",
    "Span",
    "SpanKind",
    "SpanOptions",
    "SpanResult",
    "SpanStatusCode",
    "TraceContext",
    "TracingProvider",
    "TracingService",
    "TracingSettings",
    "hookimpl",
    "initialize_tracing",
    "register_plugin",
    "tracing",
]

# Imported when they are asked for: an application that is configured by its environment imports few of them.
__getattr__ = lazy_exports(
    __name__,
    {
        "ConfigurationError": "errors",
        "ProviderSettings": "settings",
        "TracingSettings": "settings",
        "hookimpl": "hookspecs",
        "initialize_tracing": "initializer",
        "register_plugin": "plugins",
    },
)
