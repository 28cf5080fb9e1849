"""kai-tracing provider for No-op: records nothing and passes the trace context on."""

from kai_tracing_noop.provider import NoopProvider

__all__ = ["NoopProvider"]
