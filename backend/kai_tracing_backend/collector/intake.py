"""What all receivers over HTTP do: read a body within bounds, decode it off the event loop, wait for the commit."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import TypeAlias

from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request

from kai_tracing_backend.collector.refusals import RefusedError
from kai_tracing_backend.collector.validation import Accepted
from kai_tracing_backend.columns import SpanColumns
from kai_tracing_backend.storage.contract import StoreError, StoreFullError
from kai_tracing_backend.storage.queue import QueueFullError
from kai_tracing_backend.storage.reserve import Reserve
from kai_tracing_backend.tenants import Tenant, tenant_of
from kai_tracing_backend.troubles import Trouble

__all__ = ["MAX_BODY", "Decode", "Decoded", "Intake", "gunzip"]

logger = logging.getLogger(__name__)

MAX_BODY = 64 << 20
"""Bytes of a request after decompression (OTLP, "OTLP/HTTP Request"), and before it."""

_LARGE = 4 << 20  # bytes of a request that takes so long to decode that small ones are not to wait for it
_MAX_HELD = 512 << 20  # of all requests together
_MAX_DISCARDED = 512 << 20
_DISCARDING = 30.0  # seconds
_GZIP = b"\x1f\x8b"

Decoded: TypeAlias = "tuple[SpanColumns, Accepted]"
Decode: TypeAlias = "Callable[[bytes], Decoded]"


class Intake:
    """From a request to stored spans; one for all receivers, since they share its bounds."""

    def __init__(self, reserve: Reserve) -> None:
        self._reserve = reserve
        self._held = 0
        self._unwritable: dict[str, Trouble] = defaultdict(partial(Trouble, logger))  # by tenant
        self._rejecting: dict[tuple[str, str], Trouble] = defaultdict(partial(Trouble, logger))  # by tenant, receiver
        # One at once would be fastest, since decoders wait for one another; so it is one of either size.
        self._decoding = {large: CapacityLimiter(1) for large in (False, True)}

    async def store(self, request: Request, decode: Decode) -> Accepted:
        """Read, decode and store for the request's tenant; returns when the spans are durable.

        Raises:
            RefusedError: nothing was stored.
        """
        body = bytearray()
        try:
            await self._read(request, body)
            encoding = request.headers.get("content-encoding", "identity").strip().lower()
            plain = partial(_decode, bytes(body), encoding, decode)
            receiver = getattr(request.state, "receiver", "other")
            return await self.take(tenant_of(request), plain, receiver, large=len(body) > _LARGE)
        except ClientDisconnect as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the request ended before its body did") from error
        finally:
            self._held -= len(body)

    async def _read(self, request: Request, body: bytearray) -> None:
        """Read the body; its bytes are held."""
        stream = request.stream()
        if int(request.headers.get("content-length") or 0) > MAX_BODY:
            if "expect" not in request.headers:  # who does waits before it sends
                await _discard(stream)
            raise _too_large()
        try:
            async for chunk in stream:
                self._held += len(chunk)
                body += chunk
                self._check_held()
                if len(body) > MAX_BODY:
                    raise _too_large()
        except RefusedError:
            self._held -= len(body)
            body.clear()
            await _discard(stream)
            raise

    def _check_held(self) -> None:
        if self._held > _MAX_HELD:
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "too many requests at once", 1)

    async def take(
        self, tenant: Tenant, decode: Callable[[], Decoded], receiver: str, size: int = 0, *, large: bool = False
    ) -> Accepted:
        """Decode off the event loop and store; returns when the spans are durable.

        `size` are bytes that the request holds till it is decoded, and that are not counted yet; `large` is one that
        takes long.

        Raises:
            RefusedError: nothing was stored; also for a ValueError of `decode`.
        """
        self._held += size
        try:
            self._check_held()
            with tenant.queue.coming():
                admitted = partial(self._admit, tenant, decode, receiver)
                accepted, stored = await to_thread.run_sync(admitted, limiter=self._decoding[large or size > _LARGE])
        finally:
            self._held -= size
        with self._refusing(tenant):
            await asyncio.wrap_future(stored)
        self._unwritable[tenant.name].over(f"spans of {tenant.name} are stored again")
        return accepted

    def _admit(self, tenant: Tenant, decode: Callable[[], Decoded], receiver: str) -> tuple[Accepted, Future[int]]:
        """Decode and submit. The future is done when the spans are durable."""
        try:
            columns, accepted = decode()
        except ValueError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error
        accepted.valid = len(columns)
        self._count(tenant, receiver, accepted)
        with self._refusing(tenant):
            self._reserve.check()
            return accepted, tenant.pipeline.submit(columns.finish())

    @contextmanager
    def _refusing(self, tenant: Tenant) -> Iterator[None]:
        """What a sender is told where its spans cannot be stored."""
        try:
            yield
        except QueueFullError as error:
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, str(error), 1) from error
        except StoreError as error:
            self._unwritable[tenant.name].happened(f"spans of {tenant.name} are refused: {error}")
            if isinstance(error, StoreFullError):
                refused = RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "there is no room on the backend's disk", 30)
            else:
                refused = RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "the backend's store cannot be written", 5)
            raise refused from error

    def _count(self, tenant: Tenant, receiver: str, accepted: Accepted) -> None:
        """The spans of a request or packet, the good ones and the others by what is wrong with them."""
        metrics, label = tenant.metrics, tenant.metrics.tenant(tenant.name)
        metrics.received.labels(receiver, label).inc(accepted.valid)
        if not accepted.rejected:
            return
        for reason, spans in accepted.classes.items():
            metrics.rejected.labels(receiver, label, reason).inc(spans)
        said = f"{receiver}: {accepted.rejected} spans of {tenant.name} were rejected: {accepted.message}"
        self._rejecting[tenant.name, receiver].happened(said, level=logging.WARNING)


def _decode(body: bytes, encoding: str, decode: Decode) -> Decoded:
    if encoding == "gzip":
        body = gunzip(body)
    elif encoding not in ("", "identity"):
        raise RefusedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Encoding {encoding!r} is neither gzip nor identity"
        )
    elif body.startswith(_GZIP):  # which begins no body of any of the formats
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is gzip, and Content-Encoding does not say so")
    return decode(body)


def gunzip(body: bytes) -> bytes:
    """All members of a gzip stream, never more than `MAX_BODY` of them."""
    plain = bytearray()
    try:
        while body:
            stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
            plain += stream.decompress(body, MAX_BODY + 1 - len(plain))
            if len(plain) > MAX_BODY:
                raise _too_large()
            if not stream.eof:
                raise RefusedError(HTTPStatus.BAD_REQUEST, "the gzip body is cut off")
            body = stream.unused_data
    except zlib.error as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"the body is not gzip: {error}") from error
    return bytes(plain)


async def _discard(stream: AsyncIterator[bytes]) -> None:
    """Read on, within bounds: who still sends when the connection is closed does not see the answer."""

    async def read() -> None:
        seen = 0
        async for chunk in stream:
            if (seen := seen + len(chunk)) > _MAX_DISCARDED:
                return

    with suppress(asyncio.TimeoutError, ClientDisconnect):
        await asyncio.wait_for(read(), _DISCARDING)


def _too_large() -> RefusedError:
    return RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request has more than {MAX_BODY} bytes")
