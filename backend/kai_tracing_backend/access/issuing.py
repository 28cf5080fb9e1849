"""Tokens that are made and taken away over the API, by who may do everything in a tenant, for that tenant."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime
from http import HTTPStatus

from kai_tracing_backend.access.guard import DeniedError, Grant, Guard
from kai_tracing_backend.access.tokens import Limits, Scope, Token, TokenFile

__all__ = ["Issuer"]

logger = logging.getLogger(__name__)


class Issuer:
    """Changes the tokens of the tenant that a grant is for, no others; nobody gives what he does not have."""

    def __init__(self, file: TokenFile, guard: Guard) -> None:
        self._file = file
        self._guard = guard

    def tokens(self, grant: Grant) -> list[tuple[Token, str | None]]:
        """The tenant's tokens, each with the day it was used on last.

        Raises:
            TokenFileError: they cannot be read.
        """
        of_tenant = [token for token in self._file.read() if token.tenant == grant.tenant]
        return [(token, self._guard.last_use(token.id)) for token in of_tenant]

    def create(
        self, grant: Grant, name: str, scopes: Collection[Scope], expires: datetime | None, limits: Limits
    ) -> tuple[Token, str]:
        """Make a token, which holds at once; gives it with its text, which is kept nowhere.

        What the maker's token is limited to its tokens are limited to, each of them. `metrics` tells of all tenants, so
        that only who has it gives it.

        Raises:
            DeniedError: the maker has no token, or not what he wants to give.
            TokenNameError: there is a token of this name.
            TokenFileError: the file cannot be written.
        """
        if grant.token is None:
            raise DeniedError(
                "token",
                HTTPStatus.FORBIDDEN,
                "there is no token yet, and the first is made on the machine itself: `kai-tracing tokens create NAME "
                "--scope admin`. From then on everything needs one.",
            )
        if Scope.METRICS in scopes:
            grant.require(Scope.METRICS)
        token, text = self._file.create(
            name, scopes, tenant=grant.tenant, expires=expires, limits=_within(grant.token.limits, limits)
        )
        self._guard.look()
        logger.info("the token %s (%s) was made by %s", token.id, token.name, grant.token.id)
        return token, text

    def revoke(self, grant: Grant, which: str) -> Token:
        """Take a token away, by its id or name; it is refused from now on.

        Raises:
            UnknownTokenError: the tenant has none.
            TokenFileError: the file cannot be written.
        """
        token = self._file.revoke(which, grant.tenant)
        self._guard.look()
        logger.info("the token %s (%s) was revoked by %s", token.id, token.name, grant.token and grant.token.id)
        return token


def _within(own: Limits, wanted: Limits) -> Limits:
    """The limits of a new token: the maker's where none are wanted, and never beyond them."""
    found = wanted.model_dump()
    for name, most in own:
        if most is None:
            continue
        if found[name] is not None and found[name] > most:
            raise DeniedError("scope", HTTPStatus.FORBIDDEN, f"{name}: {found[name]:g} is more than your own {most:g}")
        found[name] = found[name] or most
    return Limits(**found)
