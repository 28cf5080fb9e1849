"""Who is asking, and whether they may."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http import HTTPStatus
from pathlib import Path

from kai_tracing_backend.access.limits import Bucket
from kai_tracing_backend.access.tokens import Scope, Token, TokenFile, TokenFileError, identifier
from kai_tracing_backend.tenants import DEFAULT_TENANT

__all__ = ["DeniedError", "Grant", "Guard", "read_used"]

logger = logging.getLogger(__name__)


class DeniedError(Exception):
    """The request is answered with this status and message. `headers` say how to do better (RFC 6750, section 3)."""

    def __init__(self, reason: str, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status
        self.message = message
        self.headers = dict(headers or {})

    @property
    def retry_after(self) -> int | None:
        """Seconds after which it may be tried again."""
        seconds = self.headers.get("Retry-After")
        return None if seconds is None else int(seconds)


@dataclass(frozen=True)
class Grant:
    """What a request may do, and for whom. Without a token, where none is needed, that is everything."""

    tenant: str = DEFAULT_TENANT
    scopes: frozenset[Scope] = frozenset(Scope)
    token: Token | None = None
    requests: Bucket | None = None
    bytes: Bucket | None = None

    @property
    def max_body(self) -> int | None:
        """Bytes that a request may have."""
        return self.token.limits.max_body if self.token is not None else None

    def check_size(self, size: int) -> None:
        """Refuse a body that is larger than the token's may be.

        Raises:
            DeniedError: it is.
        """
        if self.max_body is not None and size > self.max_body:
            message = f"a request with this token may have {self.max_body} bytes"
            raise DeniedError("size", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)

    def require(self, scope: Scope) -> None:
        """Refuse what the token is not for.

        Raises:
            DeniedError: it is not for `scope`.
        """
        if scope not in self.scopes:
            has = ", ".join(sorted(self.scopes))
            raise DeniedError(
                "scope",
                HTTPStatus.FORBIDDEN,
                f"this needs a token with the scope {scope.value}, and the token has {has}",
                {"WWW-Authenticate": f'Bearer realm="kai-tracing", error="insufficient_scope", scope="{scope.value}"'},
            )


@dataclass
class _Known:
    """The file as it was read last."""

    stamp: tuple[int, ...] | None = None
    grants: dict[str, Grant] = field(default_factory=dict)


class Guard:
    """Knows the tokens of a file, follows its changes, and keeps their limits. Every method is for any thread.

    Where the file has never been, nothing is asked for (`is_open`). From the first token on, whatever becomes of it,
    everything needs one. `used` is where the days are kept on which a token was used last. `count`, if there is one, is
    told the reason of every refusal that happens in `counting`: `token`, `scope`, `rate`, `size` or `host`. The file is
    looked at every `look_again` seconds, if somebody asks.

    Raises:
        TokenFileError: the file cannot be read.
    """

    def __init__(
        self,
        file: TokenFile,
        used: Path,
        count: Callable[[str], None] | None = None,
        look_again: float = 1.0,
    ) -> None:
        self._file = file
        self._used_path = used
        self._used = read_used(used)
        self._changing = threading.Lock()
        self._known = _Known()
        self._looked = 0.0
        self._count = count
        self._look_again = look_again
        self._open = True
        self._read(_stamp(file.path))

    def admit(self, authorization: str | None, scope: Scope) -> Grant:
        """What a request with this `Authorization` header may do, which `scope` is part of.

        Raises:
            DeniedError: it has no token, one that does not hold, is not for `scope`, or has been used too often.
        """
        if self.is_open():
            return Grant()
        if not authorization:
            raise _unauthorized("there is none: send the header `Authorization: Bearer TOKEN`")
        grant, token = self._known_as(_text(authorization))
        grant.require(scope)
        for bucket, what in ((grant.requests, "requests"), (grant.bytes, "bytes")):
            if bucket is not None and (seconds := bucket.wait()):
                raise DeniedError(
                    "rate",
                    HTTPStatus.TOO_MANY_REQUESTS,
                    f"the token has used up its {what} a second",
                    {"Retry-After": str(seconds)},
                )
        if grant.requests is not None:
            grant.requests.spend(1)
        self._note_use(token.id)
        return grant

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count it if the request is refused."""
        try:
            yield
        except DeniedError as error:
            if self._count is not None:
                self._count(error.reason)
            raise

    def is_open(self) -> bool:
        """Whether nothing is asked for, at this moment."""
        if time.monotonic() - self._looked >= self._look_again:
            self.look()
        return self._open

    def _known_as(self, text: str) -> tuple[Grant, Token]:
        grant = self._known.grants.get(identifier(text) or "")
        token = grant.token if grant is not None else None
        if grant is None or token is None or not token.is_of(text):
            raise _unauthorized("it is not known, or was revoked", "invalid_token")
        if token.expired(datetime.now(timezone.utc)):
            raise _unauthorized(f"it expired on {token.expires:%Y-%m-%d}", "invalid_token")
        return grant, token

    def last_use(self, number: str) -> str | None:
        """The day (UTC, `YYYY-MM-DD`) that the token of this id was used on last."""
        return self._used.get(number)

    def look(self) -> None:
        """Read the file again if it has changed; it is looked for every second anyway, when somebody asks."""
        self._looked = time.monotonic()
        stamp = _stamp(self._file.path)
        if stamp != self._known.stamp:
            try:
                self._read(stamp)
            except TokenFileError as error:
                self._known.stamp = stamp
                logger.error("the tokens stay as they were: %s", error)

    def _read(self, stamp: tuple[int, ...] | None) -> None:
        tokens = self._file.read()
        if stamp is not None:
            self._open = False
        with self._changing:
            before = self._known.grants
            grants = {token.id: _grant(token, before.get(token.id)) for token in tokens}
            self._known = _Known(stamp, grants)

    def _note_use(self, number: str) -> None:
        day = time.strftime("%Y-%m-%d", time.gmtime())
        if self._used.get(number) == day:
            return
        with self._changing:
            self._used[number] = day
            try:
                new = self._used_path.with_name(f"{self._used_path.name}.new")
                new.write_text(json.dumps(self._used), "utf-8")
                new.replace(self._used_path)
            except OSError as error:
                logger.warning("the day a token was used on cannot be kept: %s", error)


def read_used(path: Path) -> dict[str, str]:
    """By token's id the day (UTC, `YYYY-MM-DD`) that it was used on last; none where that is not known."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _grant(token: Token, before: Grant | None) -> Grant:
    """The token's; with the buckets that it has had, unless its limits are others now."""
    if before is not None and before.token is not None and before.token.limits == token.limits:
        return Grant(token.tenant, token.scopes, token, before.requests, before.bytes)
    limits = token.limits
    return Grant(
        token.tenant,
        token.scopes,
        token,
        Bucket(limits.requests_per_second) if limits.requests_per_second else None,
        Bucket(limits.bytes_per_second) if limits.bytes_per_second else None,
    )


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What changes when the file does; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _text(authorization: str) -> str:
    """The token in a header: `Bearer` (RFC 6750), or the password or the user of `Basic` (RFC 7617)."""
    scheme, _, value = authorization.strip().partition(" ")
    value = value.strip()
    if scheme.lower() != "basic":
        return value
    try:
        user, _, password = base64.b64decode(value, validate=True).decode("ascii").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password or user


def _unauthorized(why: str, error: str | None = None) -> DeniedError:
    challenge = 'Bearer realm="kai-tracing"' + (f', error="{error}"' if error else "")
    return DeniedError(
        "token", HTTPStatus.UNAUTHORIZED, f"this needs a token, and {why}", {"WWW-Authenticate": challenge}
    )
