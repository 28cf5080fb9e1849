"""The way of thrift-encoded spans to Jaeger: UDP to an agent, HTTP to a collector."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from jaeger_client.TUDPTransport import TUDPTransport

from kai_tracing_core.processing.http import HttpSender
from kai_tracing_core.processing.processor import PayloadExporter, Retryable, SpanExporter, TooLarge
from kai_tracing_core.span import Span
from kai_tracing_jaeger.encoding import JaegerEncoder

__all__ = ["AgentExporter", "CollectorExporter"]


class AgentExporter(SpanExporter):
    """Sends compact thrift to an agent over UDP. Nothing comes back: what is sent counts as exported."""

    def __init__(self, host: str, port: int, max_packet_size: int) -> None:
        self._address = host, port
        self._max_packet_size = max_packet_size
        self._encoder = JaegerEncoder(compact=True)
        self._transport: TUDPTransport | None = None

    def export(self, spans: Sequence[Span], timeout: float) -> int:
        """Send the spans in as many packets as they need."""
        packets = list(self._encoder.packets(spans, self._max_packet_size))
        try:
            transport = self._connect(timeout)
            for packet in packets:
                transport.write(packet)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:  # systems have limits of their own, macOS 9,216 bytes
                raise TooLarge(str(error)) from error  # pragma: no cover - other systems
            raise Retryable(f"{self._address[0]}:{self._address[1]}: {error}") from error
        return 0

    def _connect(self, timeout: float) -> TUDPTransport:
        if self._transport is None:
            # Blocking, since a burst of packets fills the socket's buffer, and packets are lost when it is full.
            self._transport = TUDPTransport(*self._address, blocking=True)
        self._transport.transport_sock.settimeout(timeout)
        return self._transport

    def after_fork(self) -> None:
        """Use a socket of our own."""
        self.shutdown()

    def shutdown(self) -> None:
        """Close the socket."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()


class CollectorExporter(PayloadExporter):
    """Posts binary thrift to a collector's `/api/traces`."""

    format = "thrift"

    def __init__(self, sender: HttpSender) -> None:
        self._sender = sender
        self._encoder = JaegerEncoder()

    def encode(self, spans: Sequence[Span]) -> bytes:
        """The spans as a request's body."""
        return self._encoder.encode(spans)

    def send(self, payload: bytes, timeout: float) -> int:
        """Post the body; the collector takes all of it or nothing."""
        self._sender.post(payload, "application/x-thrift", timeout)
        return 0

    def after_fork(self) -> None:
        """Let go of the parent's connection."""
        self._sender.after_fork()

    def shutdown(self) -> None:
        """Close the connection."""
        self._sender.close()
