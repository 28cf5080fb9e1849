"""One tracing API for Python services; `TRACING_TYPE` chooses the backend behind it."""

from kai_tracing_core.hookspecs import hookimpl
from kai_tracing_core.provider import RecordingProvider, TracingProvider
from kai_tracing_core.service import TracingService, tracing
from kai_tracing_core.span import Link, Span, SpanKind, SpanOptions, SpanResult, SpanStatusCode
from kai_tracing_core.trace_context import TraceContext

__all__ = [
    "Link",
    "RecordingProvider",
    "Span",
    "SpanKind",
    "SpanOptions",
    "SpanResult",
    "SpanStatusCode",
    "TraceContext",
    "TracingProvider",
    "TracingService",
    "hookimpl",
    "tracing",
]
