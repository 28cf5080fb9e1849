"""Which addresses may be listened on without tokens, and which names a browser may call them by."""

from __future__ import annotations

import logging
from collections.abc import Collection
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from kai_tracing_backend.access.guard import DeniedError, Guard
from kai_tracing_core.errors import ConfigurationError

__all__ = ["check_address", "check_names", "is_local"]

logger = logging.getLogger(__name__)

_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))


def is_local(host: str) -> bool:
    """Whether only this machine can mean it: `localhost`, a name below it, or a loopback address."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def check_address(host: str, guard: Guard, *, insecure: bool, encrypted: bool, udp_tenant: str | None = None) -> None:
    """Refuse to let other machines in where nobody needs a token, unless that is wished (`insecure`).

    Raises:
        ConfigurationError: it is not, and `host` is no address of this machine alone.
    """
    if is_local(host):
        return
    if udp_tenant is not None and not insecure:
        raise ConfigurationError(
            f"TRACING_BACKEND_UDP_TENANT (--udp-tenant) {udp_tenant} lets whoever reaches {host} send spans without a "
            "token. Leave it out, or listen on 127.0.0.1. Where that is wanted, say so with "
            "TRACING_BACKEND_INSECURE=true (--insecure)."
        )
    if guard.is_open() and not insecure:
        raise ConfigurationError(
            f"TRACING_BACKEND_HOST (--host) {host} lets other machines in, and there is no token that they would "
            "need. Make one with `kai-tracing tokens create`, or listen on 127.0.0.1. Where everybody who reaches "
            "this machine may read and write all traces, say so with TRACING_BACKEND_INSECURE=true (--insecure)."
        )
    if guard.is_open():
        logger.warning("EVERYBODY who reaches %s may read, write and delete all traces: --insecure says so", host)
    elif not encrypted:
        logger.warning(
            "tokens and traces can be read on their way to %s, unless a proxy encrypts it: TRACING_BACKEND_TLS_CERT "
            "(--tls-cert) and TRACING_BACKEND_TLS_KEY do",
            host,
        )


def check_names(method: str, host: str | None, origin: str | None, allowed: Collection[str]) -> None:
    """Refuse what a page of somebody else's makes a browser send to a port of this machine that asks for no token.

    Such a page may have its own name resolve to this machine (DNS rebinding): then the `Host` header is that name. Or
    it may send to this machine's: then the `Origin` is its own. `allowed` names are as good as this machine's.

    Raises:
        DeniedError: it is such a request.
    """
    if host and not _known(_name(host), allowed):
        raise DeniedError(
            "host",
            HTTPStatus.FORBIDDEN,
            f"{host!r} is no name of this machine. TRACING_BACKEND_ALLOWED_HOSTS (--allowed-hosts) is for those that "
            "a proxy calls it by.",
        )
    if origin and method not in _SAFE and not _known(_origin(origin), allowed):
        raise DeniedError(
            "host",
            HTTPStatus.FORBIDDEN,
            f"pages of {origin!r} may not send here. TRACING_BACKEND_CORS_ORIGINS (--cors-origins) is for those that "
            "may send spans, TRACING_BACKEND_ALLOWED_HOSTS (--allowed-hosts) for those that may do everything.",
        )


def _name(host: str) -> str:
    """The header without its port."""
    if host.startswith("["):
        return host.partition("]")[0]
    return host.partition(":")[0]


def _origin(origin: str) -> str:
    """The name in an `Origin`; empty where it has none, as a sandboxed page's."""
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def _known(name: str, allowed: Collection[str]) -> bool:
    return is_local(name) or name.lower() in allowed
