"""The receivers of Jaeger's agent: thrift over UDP, compact (port 6831) and binary (port 6832).

Nothing can be answered over UDP. What cannot be taken is counted by its reason and logged, now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections import Counter, deque
from functools import partial

from kai_tracing_backend.access.gate import Gate
from kai_tracing_backend.access.guard import DeniedError
from kai_tracing_backend.collector.intake import Decoded, Intake
from kai_tracing_backend.collector.jaeger import decode_packet
from kai_tracing_backend.collector.refusals import RefusedError
from kai_tracing_backend.collector.validation import Accepted
from kai_tracing_backend.columns import SpanColumns
from kai_tracing_backend.listeners import GRACE, Listener, Port
from kai_tracing_backend.troubles import Trouble

__all__ = ["JaegerUdpListener"]

logger = logging.getLogger(__name__)

_MAX_WAITING = 64 << 20  # bytes of packets
_MAX_GROUP = 1_000  # packets that are stored together
_RECEIVE_BUFFER = 4 << 20  # asked of the system, which may give less
_LOG_SECONDS = 10.0

_DENIED = (
    "packets have no room for a token, so that none is taken where there are tokens. TRACING_BACKEND_UDP_TENANT "
    "(--udp-tenant) says whose they are"
)


class JaegerUdpListener(Listener):
    """Takes packets, and stores those that came meanwhile together.

    Where nothing can be stored it tries again until it can, while new packets wait, and are dropped where too many do.
    `tenant` is whose they are; without it packets are refused where tokens are wanted.

    Raises:
        PortError: the port is taken.
    """

    def __init__(self, port: Port, intake: Intake, gate: Gate, *, compact: bool, tenant: str | None = None) -> None:
        super().__init__("udp", port)
        self._intake = intake
        self._gate = gate
        self._metrics = gate.tenants.metrics
        self._compact = compact
        self._tenant = tenant
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._faults = Trouble(logger)
        self._lost: Counter[str] = Counter()
        self._next_log = 0.0
        self._socket = port.bind(socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)

    async def start(self) -> None:
        """Begin to serve."""
        if self._gate.refuses_packets(self._tenant):
            logger.warning("%s: %s, or 0 as the port switches it off", self.title, _DENIED)
        self._came, self._ending = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Receiving(self), sock=self._socket)
        self._storing = asyncio.create_task(self._store_all())

    async def stop(self) -> None:
        """Take no more, store what has come within `GRACE`, and give the port back."""
        self._transport.close()
        self._ending.set()
        self._came.set()
        try:
            await asyncio.wait_for(self._storing, GRACE)
        except asyncio.TimeoutError:
            self._drop("stopped", len(self._waiting))
        self.close()

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()

    def received(self, packet: bytes) -> None:
        """One packet, on the event loop."""
        if self._bytes + len(packet) > _MAX_WAITING:
            self._drop("queue full")
            return
        self._bytes += len(packet)
        self._waiting.append(packet)
        self._came.set()

    async def _store_all(self) -> None:
        while True:
            await self._came.wait()
            self._came.clear()
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MAX_GROUP))]
                size = sum(map(len, group))
                await self._store(group)
                self._bytes -= size
            if self._ending.is_set():
                return

    async def _store(self, group: list[bytes]) -> None:
        while True:
            try:
                tenant = await asyncio.to_thread(self._gate.enter_packet, self._tenant)
                await self._intake.take(tenant, partial(self._decode, group), self.name)
            except DeniedError:
                self._drop("denied", len(group), f": {_DENIED}")
                return
            except RefusedError as error:
                if self._ending.is_set():
                    self._drop(error.message, len(group))
                    return
                self._log(f"packets wait since {error.message}")
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._ending.wait(), error.retry_after or 1)
            except Exception:
                self._faults.happened(f"{self.title}: packets cannot be stored", traceback=True)
                self._drop("error", len(group))
                return
            else:
                self._metrics.bytes.labels(self.name, self._metrics.tenant(tenant.name)).inc(sum(map(len, group)))
                return

    def _decode(self, group: list[bytes]) -> Decoded:
        """All spans of a group. Packets that are none leave it, so that they are counted once."""
        columns, accepted = SpanColumns(), Accepted()
        for packet in tuple(group):
            try:
                decode_packet(columns, accepted, packet, compact=self._compact)
            except ValueError as error:
                group.remove(packet)
                self._drop("malformed", detail=f": {error}")
        return columns, accepted

    def _drop(self, reason: str, packets: int = 1, detail: str = "") -> None:
        """Count packets that are lost."""
        self._metrics.udp_dropped.labels(self.name, reason).inc(packets)
        self._lost[reason] += packets
        lost = ", ".join(f"{count} packets ({why})" for why, count in self._lost.copy().items())
        self._log(f"dropped {lost}{detail}")

    def _log(self, message: str) -> None:
        if time.monotonic() >= self._next_log:
            self._next_log = time.monotonic() + _LOG_SECONDS
            self._lost.clear()
            logger.warning("%s: %s", self.title, message)


class _Receiving(asyncio.DatagramProtocol):
    """asyncio's side of the listener."""

    def __init__(self, listener: JaegerUdpListener) -> None:
        self._listener = listener

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._listener.received(data)
