"""Tokens, and the file that has them.

A token's text is random, 256 bits of it, so that one SHA-256 is enough to keep it: nobody guesses what it was. It is
shown once. The file says whose it is and what it may do.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from kai_tracing_backend.tenants import DEFAULT_TENANT, TENANT_NAME

__all__ = [
    "Limits",
    "Scope",
    "Token",
    "TokenFile",
    "TokenFileError",
    "TokenNameError",
    "UnknownTokenError",
    "identifier",
]

_TEXT = re.compile(r"kt_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_VERSION = 1


class TokenFileError(Exception):
    """The file of tokens cannot be read or written, or what is asked of it cannot be; the message says why."""


class TokenNameError(TokenFileError):
    """The tenant has a token of this name."""


class UnknownTokenError(TokenFileError):
    """There is no such token."""


class Scope(str, Enum):
    """What a token is for: to send, to read, to change or delete; to read the process's numbers, those of all tenants.

    None of them contains another.
    """

    INGEST = "ingest"
    QUERY = "query"
    ADMIN = "admin"
    METRICS = "metrics"


class Limits(BaseModel):
    """How much a token may do; None is as much as it likes. Bytes are those on the wire."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_second: PositiveFloat | None = None
    bytes_per_second: PositiveInt | None = None
    max_body: PositiveInt | None = None


class Token(BaseModel):
    """One token, without its text. Times are UTC; it holds before `expires`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{8}$")
    name: str = Field(min_length=1, max_length=100)
    tenant: str = Field(DEFAULT_TENANT, pattern=TENANT_NAME)
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    hash: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    created: AwareDatetime
    expires: AwareDatetime | None = None
    limits: Limits = Limits()

    def is_of(self, text: str) -> bool:
        """Whether this is the token's text, found out in the same time for every wrong one."""
        return hmac.compare_digest(_hash(text), self.hash)

    def expired(self, now: datetime) -> bool:
        """Whether it holds no longer."""
        return self.expires is not None and now >= self.expires


def identifier(text: str) -> str | None:
    """The id in a token's text; None where it is no token's."""
    match = _TEXT.fullmatch(text)
    return match[1] if match else None


def _hash(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, le=_VERSION)
    tokens: list[Token]


class TokenFile:
    """The tokens at `path`. Several processes may change it; who reads it sees it as before or as after."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Token]:
        """Every token, in the order of their making; none where there is no file.

        Raises:
            TokenFileError: it cannot be read, is not what it must be, or anybody on the machine may change it.
        """
        try:
            with self.path.open("rb") as file:
                if os.name == "posix" and os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                    raise TokenFileError(f"{self.path} may be written by everybody: chmod 600 {self.path}")
                document = _Document.model_validate_json(file.read())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TokenFileError(f"{self.path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            fault = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, fault["loc"]))
            raise TokenFileError(
                f"{self.path} is no file of tokens: {place + ': ' if place else ''}{fault['msg']}. Correct it, or put "
                "it away and make the tokens again with `kai-tracing tokens create`."
            ) from error
        return document.tokens

    def create(
        self,
        name: str,
        scopes: Collection[Scope],
        *,
        tenant: str = DEFAULT_TENANT,
        expires: datetime | None = None,
        limits: Limits = Limits(),  # noqa: B008 - it is frozen
    ) -> tuple[Token, str]:
        """Make a token; gives it with its text, which is kept nowhere.

        Raises:
            TokenFileError: the tenant's name is none, there is a token of this name, or the file cannot be written.
        """
        if not re.fullmatch(TENANT_NAME, tenant):
            raise TokenFileError(f"{tenant!r} is no tenant's name: 1 to 63 of a-z, 0-9, - and _")
        with self._changing():
            tokens = self.read()
            if any((token.name, token.tenant) == (name, tenant) for token in tokens):
                raise TokenNameError(f"there is a token {name!r} already: revoke it, or call this one otherwise")
            taken = {token.id for token in tokens}
            number = next(made for made in iter(lambda: secrets.token_hex(4), None) if made not in taken)
            text = f"kt_{number}_{secrets.token_urlsafe(32)}"
            token = Token(
                id=number,
                name=name,
                tenant=tenant,
                scopes=frozenset(scopes),
                hash=_hash(text),
                created=datetime.now(timezone.utc).replace(microsecond=0),
                expires=expires,
                limits=limits,
            )
            self._write([*tokens, token])
        return token, text

    def revoke(self, which: str, tenant: str | None = None) -> Token:
        """Take the token of this id or name, of `tenant` if that is given, out of the file.

        Raises:
            TokenFileError: there is none, or the file cannot be written.
        """
        with self._changing():
            tokens = self.read()
            own = [token for token in tokens if tenant in (None, token.tenant)]
            found = [token for token in own if token.id == which] or [token for token in own if token.name == which]
            if not found:
                raise UnknownTokenError(f"there is no token {which!r}; `kai-tracing tokens list` shows which there are")
            if len(found) > 1:
                raise TokenFileError(f"several tenants have a token {which!r}: say its id")
            self._write([token for token in tokens if token is not found[0]])
        return found[0]

    def _write(self, tokens: Sequence[Token]) -> None:
        document = _Document(version=_VERSION, tokens=list(tokens)).model_dump(mode="json")
        for token in document["tokens"]:
            token["scopes"].sort()
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            new.unlink(missing_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
                file.write(json.dumps(document, indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        except OSError as error:
            raise TokenFileError(f"{self.path} cannot be written: {error.strerror}") from error

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One process at a time, where there is `flock`."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise TokenFileError(f"{self.path} cannot be written: {error.strerror}") from error
        try:
            try:
                import fcntl
            except ImportError:  # Windows
                pass
            else:
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
