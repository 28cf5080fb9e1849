"""One HTTP POST of an encoded batch, its answer told apart into taken, later, smaller and never.

Needs urllib3, which the providers that send over HTTP depend on; the core itself does not.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import urllib3

from kai_tracing_core.processing.processor import Rejected, Retryable, TooLarge

__all__ = ["HttpOptions", "HttpSender", "parse_retry_after"]

_RETRYABLE = frozenset((429, 502, 503, 504))
_ANSWER_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Where and how to send. `timeout` is in seconds, files are PEM; `verify` False accepts any certificate."""

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
    """Posts to one URL over a kept-alive connection. Used from one thread at a time."""

    def __init__(self, options: HttpOptions) -> None:
        self.options = options
        self._pool = self._connect()

    def _connect(self) -> urllib3.PoolManager:
        options = self.options
        common: dict[str, Any] = {
            "num_pools": 1,
            "maxsize": 1,
            "retries": False,
            "ca_certs": options.ca_file,
            "cert_file": options.client_cert_file,
            "key_file": options.client_key_file,
            "cert_reqs": "CERT_REQUIRED" if options.verify else "CERT_NONE",
        }
        if options.proxy:
            return urllib3.ProxyManager(options.proxy, **common)
        return urllib3.PoolManager(**common)

    def post(self, body: bytes, content_type: str, timeout: float) -> bytes:
        """Send one body; returns the answer's, at most 64 KiB of it.

        Raises:
            Retryable: connection trouble, a time-out, or 429, 502, 503, 504, with the server's Retry-After.
            TooLarge: 413.
            Rejected: any other answer that is not 2xx.
        """
        options = self.options
        headers = {"Content-Type": content_type, **(options.headers or {})}
        if options.gzip:
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        seconds = min(timeout, options.timeout)
        try:
            response = self._pool.request(
                "POST",
                options.url,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(total=seconds),
                redirect=False,
                preload_content=False,
            )
            try:
                answer = response.read(_ANSWER_LIMIT)
            finally:
                response.drain_conn()
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Retryable(f"{options.url}: {_reason(error)}") from error
        status = response.status
        if 200 <= status < 300:
            return answer
        said = f"{options.url} answered {status} {answer[:200].decode('utf-8', 'replace')}".rstrip()
        if status in _RETRYABLE:
            raise Retryable(said, retry_after=parse_retry_after(response.headers.get("Retry-After")))
        if status == 413:
            raise TooLarge(said)
        raise Rejected(said, reason=f"http_{status}")

    def after_fork(self) -> None:
        """Use a connection of our own, leaving the parent's alone."""
        self._pool = self._connect()

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()


def _reason(error: BaseException) -> str:
    """The innermost cause, which says more than the wrapping of it."""
    cause = getattr(error, "reason", None) or error
    return f"{type(cause).__name__}: {cause}"


def parse_retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, a number or a date (RFC 9110, section 10.2.3); None if it says none."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return None
