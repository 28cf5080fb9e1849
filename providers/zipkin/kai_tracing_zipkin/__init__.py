"""The Zipkin provider for kai-tracing."""

from kai_tracing_zipkin.encoding import Encoding, ZipkinEncoder
from kai_tracing_zipkin.provider import ZipkinProvider
from kai_tracing_zipkin.settings import ZipkinSettings
from kai_tracing_zipkin.transport import HandlerExporter, ZipkinExporter

__all__ = ["Encoding", "HandlerExporter", "ZipkinEncoder", "ZipkinExporter", "ZipkinProvider", "ZipkinSettings"]
