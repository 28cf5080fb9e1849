"""Pages of other origins that may send spans from a browser (Fetch standard, "CORS protocol")."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["CorsMiddleware", "Origins", "check_origin"]

_PREFLIGHT_SECONDS = 600
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origins:
    """The origins whose pages may send; `*` among them is all of them."""

    def __init__(self, texts: Collection[str] = ()) -> None:
        self._known = frozenset(texts)

    def __contains__(self, origin: str | None) -> bool:
        return origin is not None and ("*" in self._known or origin.lower() in self._known)


class CorsMiddleware:
    """ASGI, outside of access control: a browser asks without a token first, and is to see why it was refused.

    Only requests with POST are answered for pages: where the port is for reading as well, they cannot read.
    """

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins
        self._for_pages = CORSMiddleware(
            app,
            allow_origin_regex=".*",  # those that get here, and each by its name
            allow_methods=["POST"],
            allow_headers=["*"],
            allow_credentials=True,  # navigator.sendBeacon has them always; nothing here uses cookies
            expose_headers=["Retry-After"],
            max_age=_PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app = self._for_pages if scope["type"] == "http" and self._of_page(scope) else self._app
        await app(scope, receive, send)

    def _of_page(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        asked = headers.get("access-control-request-method") if scope["method"] == "OPTIONS" else scope["method"]
        return asked == "POST" and headers.get("origin") in self._origins


def check_origin(text: str) -> str:
    """An origin as browsers write it, or `*`.

    Raises:
        ValueError: it is none.
    """
    if text == "*":
        return text
    wrong = f"{text!r} is no origin: write https://shop.example.com, with a port if it has one, or * for all"
    try:
        parts = urlsplit(text.lower().removesuffix("/"))
        port = parts.port
    except ValueError as error:
        raise ValueError(wrong) from error
    if not parts.scheme or not parts.hostname or parts.path or parts.query or parts.fragment:
        raise ValueError(wrong)
    if "@" in parts.netloc or "*" in parts.netloc:
        raise ValueError(wrong)
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}" + ("" if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{port}")
