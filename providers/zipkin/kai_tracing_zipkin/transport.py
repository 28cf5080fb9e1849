"""The way of encoded spans to Zipkin."""

from __future__ import annotations

from collections.abc import Sequence

from py_zipkin.transport import BaseTransportHandler

from kai_tracing_core.processing.http import HttpSender
from kai_tracing_core.processing.processor import PayloadExporter, Retryable, TooLarge
from kai_tracing_core.span import Span
from kai_tracing_zipkin.encoding import ZipkinEncoder

__all__ = ["HandlerExporter", "ZipkinExporter"]


class ZipkinExporter(PayloadExporter):
    """Posts spans to Zipkin's `/api/v2/spans`."""

    def __init__(self, encoder: ZipkinEncoder, sender: HttpSender) -> None:
        self._encoder = encoder
        self._sender = sender
        self.format = encoder.content_type.rpartition("/")[2]

    def encode(self, spans: Sequence[Span]) -> bytes:
        """The spans as a request's body."""
        return self._encoder.encode(spans)

    def send(self, payload: bytes, timeout: float) -> int:
        """Post the body; Zipkin takes all of it or nothing."""
        self._sender.post(payload, self._encoder.content_type, timeout)
        return 0

    def after_fork(self) -> None:
        """Let go of the parent's connection."""
        self._sender.after_fork()

    def shutdown(self) -> None:
        """Close the connection."""
        self._sender.close()


class HandlerExporter(PayloadExporter):
    """Sends spans through a py-zipkin transport handler, such as one for Kafka or Scribe.

    The handler has to bound the time that it takes; what it raises counts as a reason to try again.
    """

    def __init__(self, encoder: ZipkinEncoder, handler: BaseTransportHandler) -> None:
        self._encoder = encoder
        self._handler = handler

    def encode(self, spans: Sequence[Span]) -> bytes:
        """The spans as a message."""
        return self._encoder.encode(spans)

    def send(self, payload: bytes, timeout: float) -> int:
        """Hand the message to the handler, if it is not larger than the handler takes."""
        limit = self._handler.get_max_payload_bytes()
        if limit is not None and len(payload) > limit:
            raise TooLarge(f"{len(payload)} bytes, of which the transport handler takes {limit}")
        try:
            self._handler.send(payload)
        except Exception as error:
            raise Retryable(f"{type(error).__name__}: {error}") from error
        return 0
