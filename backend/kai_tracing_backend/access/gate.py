"""What every receiver and the API stand behind: the guard, and the tenants that it lets in to."""

from __future__ import annotations

from collections.abc import Collection

from kai_tracing_backend.access.binding import check_names
from kai_tracing_backend.access.guard import Grant, Guard
from kai_tracing_backend.access.tokens import Scope
from kai_tracing_backend.tenants import Tenant, Tenants

__all__ = ["Gate"]


class Gate:
    """Says whose a request is, or that it is refused. Every method is for any thread.

    `local` is whether this machine alone reaches the ports; `allowed` are names that a browser may call them by then,
    besides this machine's own.
    """

    def __init__(self, guard: Guard, tenants: Tenants, *, local: bool, allowed: Collection[str] = ()) -> None:
        self.tenants = tenants
        self._guard = guard
        self._local = local
        self._allowed = frozenset(name.lower() for name in allowed)

    def check_names(self, method: str, host: str | None, origin: str | None) -> None:
        """Refuse what a page of somebody else's sends, where no token would stop it.

        Raises:
            DeniedError: it is such a request.
        """
        if self._local and self._guard.is_open():
            with self._guard.counting():
                check_names(method, host, origin, self._allowed)

    def admit(self, authorization: str | None, scope: Scope, size: int | None = None) -> Grant:
        """What a request may do with its `Authorization`; `size` is its body's, where that is known.

        Raises:
            DeniedError: it may not do what `scope` is for, or its body is too large.
        """
        with self._guard.counting():
            grant = self._guard.admit(authorization, scope)
            if size is not None:
                grant.check_size(size)
        return grant

    def receive(self, grant: Grant, size: int, total: int) -> None:
        """Charge `size` bytes that came, `total` in this request so far, to the request's token.

        Raises:
            DeniedError: these are more than the token's may be.
        """
        if grant.bytes is not None:
            grant.bytes.spend(size)
        with self._guard.counting():
            grant.check_size(total)

    def refuses_packets(self, tenant: str | None) -> bool:
        """Whether packets for `tenant` get in nowhere, as it is now."""
        return tenant is None and not self._guard.is_open()

    def enter_packet(self, tenant: str | None) -> Tenant:
        """The tenant of packets, which have no room for a token: `tenant`, or the default one while nobody needs any.

        Raises:
            DeniedError: they are refused.
            StoreError: the tenant's store cannot be opened.
        """
        return self.tenants.get(tenant or self.admit(None, Scope.INGEST).tenant)
