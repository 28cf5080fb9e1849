"""One HTTP POST of an encoded batch, its answer told apart into taken, later, smaller and never.

Needs urllib3, which the providers that send over HTTP depend on; the core itself does not.
"""

from __future__ import annotations

import base64
import gzip
import http.client
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import socket
from time import monotonic
from typing import Any
from urllib.parse import unquote

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from kai_tracing_core.processing.http_messages import describe_answer, describe_failure
from kai_tracing_core.processing.processor import Rejected, Retryable, TooLarge
from kai_tracing_core.processing.retry import parse_retry_after

__all__ = ["HttpOptions", "HttpSender"]

_RETRYABLE = frozenset((429, 502, 503, 504))
_ANSWER_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Where and how to send. `timeout` is in seconds, files are PEM; `verify` False accepts any certificate.

    User and password in the URL are sent as Basic authentication (RFC 7617), unless `headers` have an `Authorization`.
    """

    url: str
    headers: Mapping[str, str] | None = None
    timeout: float = 10.0
    gzip: bool = False
    ca_file: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    verify: bool = True
    proxy: str | None = None


class HttpSender:
    """Posts to one URL over a kept-alive connection. Used from one thread at a time.

    Raises:
        OSError: one of the files cannot be read.
    """

    def __init__(self, options: HttpOptions) -> None:
        self.options = options
        self._headers = _headers(options)
        for name in (options.ca_file, options.client_cert_file, options.client_key_file):
            if name:
                Path(name).open("rb").close()
        self._manager: urllib3.PoolManager | None = None
        self._request: Callable[..., urllib3.BaseHTTPResponse] | None = None

    def _connect(self) -> Callable[..., urllib3.BaseHTTPResponse]:
        """What posts to the URL, from now on."""
        options = self.options
        common: dict[str, Any] = {
            "num_pools": 1,
            "maxsize": 1,
            "ca_certs": options.ca_file,
            "cert_file": options.client_cert_file,
            "key_file": options.client_key_file,
            "cert_reqs": "CERT_REQUIRED" if options.verify else "CERT_NONE",
        }
        manager = urllib3.ProxyManager(options.proxy, **common) if options.proxy else urllib3.PoolManager(**common)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        if options.proxy:
            request = partial(manager.urlopen, "POST", options.url)
        else:
            # The manager would look for the pool anew each time, for a quarter of what a request costs.
            pool = manager.connection_from_url(options.url)
            request = partial(pool.urlopen, "POST", urllib3.util.parse_url(options.url).request_uri)
        self._manager, self._request = manager, request
        return request

    def post(self, body: bytes, content_type: str, timeout: float) -> bytes:
        """Send one body; returns the answer's, at most 64 KiB of it, or nothing where it breaks off.

        Raises:
            Retryable: connection trouble, a time-out, or 429, 502, 503, 504, with the server's Retry-After.
            TooLarge: 413.
            Rejected: any other answer that is not 2xx.
        """
        options = self.options
        headers = {"Content-Type": content_type, **self._headers}
        if options.gzip:
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        try:
            request = self._request or self._connect()
            response = request(
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(total=min(timeout, options.timeout)),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Retryable(f"{_without_secrets(options.url)}: {describe_failure(error)}") from error
        answer = _read(response)
        status = response.status
        if 200 <= status < 300:
            return answer
        said = f"{_without_secrets(options.url)} answered {describe_answer(status, response.headers, answer)}"
        if status in _RETRYABLE:
            raise Retryable(said, retry_after=parse_retry_after(response.headers.get("Retry-After")))
        if status == 413:
            raise TooLarge(said)
        raise Rejected(said, reason=f"http_{status}")

    def after_fork(self) -> None:
        """Use a connection of our own, leaving the parent's alone."""
        self._manager = self._request = None

    def close(self) -> None:
        """Close the connection."""
        if self._manager is not None:
            self._manager.clear()


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    """The answer's body. With the status the server has decided; a body that breaks off changes nothing about it."""
    try:
        answer = response.read(_ANSWER_LIMIT + 1)
    except (urllib3.exceptions.HTTPError, OSError):
        response.close()
        return b""
    if len(answer) > _ANSWER_LIMIT:
        response.close()
    else:
        response.release_conn()
    return answer[:_ANSWER_LIMIT]


class _TimedReader(io.RawIOBase):
    """Reads a socket until a deadline. A socket's own time-out starts anew with every byte that drips in."""

    def __init__(self, raw: io.RawIOBase, sock: socket) -> None:
        self._raw = raw
        self._sock = sock
        timeout = sock.gettimeout()
        self._deadline = monotonic() + (60.0 if timeout is None else timeout)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._deadline - monotonic()
        if remaining <= 0:
            raise TimeoutError("the answer takes too long")  # pragma: no cover - else the socket times out first
        self._sock.settimeout(remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        raw: Any = self.fp.detach()  # a BufferedReader over the socket
        self.fp = io.BufferedReader(_TimedReader(raw, sock))


class _Connection(HTTPConnection):
    response_class = _TimedResponse


class _SecureConnection(HTTPSConnection):
    response_class = _TimedResponse


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _headers(options: HttpOptions) -> dict[str, str]:
    """The headers of every request, with what stands for the URL's user and password."""
    headers = dict(options.headers or {})
    auth = urllib3.util.parse_url(options.url).auth
    if auth is not None and "authorization" not in map(str.lower, headers):
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(auth).encode()).decode()}"
    return headers


def _without_secrets(url: str) -> str:
    """The URL for a message: without user, password and query."""
    parsed = urllib3.util.parse_url(url)
    return parsed._replace(auth=None, query=None, fragment=None).url
