"""The Jaeger provider for kai-tracing."""

from kai_tracing_jaeger.provider import JaegerProvider
from kai_tracing_jaeger.settings import JaegerSettings, Protocol

__all__ = ["JaegerProvider", "JaegerSettings", "Protocol"]
