"""The route template of a request, as the web framework that handled it knows it, for the span's name.

No framework is imported here: each is asked only when it has handled the request itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["asgi_route", "wsgi_route"]

_by_endpoint: WeakKeyDictionary[Any, str | None] = WeakKeyDictionary()


def asgi_route(scope: Mapping[str, Any]) -> str | None:
    """The template that Starlette, FastAPI or Django routed the request by, such as `/users/{id}`; else None."""
    route = scope.get("route")
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    if isinstance(path, str):
        return _mounted_at(scope) + path
    endpoint = scope.get("endpoint")
    if endpoint is None:
        return _django_route(scope.get("path", "")) if "django" in sys.modules else None
    try:
        if endpoint not in _by_endpoint:
            _by_endpoint[endpoint] = _find(getattr(scope.get("app"), "routes", ()), endpoint)
        return _by_endpoint[endpoint]
    except TypeError:  # an endpoint that cannot be referred to weakly
        return _find(getattr(scope.get("app"), "routes", ()), endpoint)


def _mounted_at(scope: Mapping[str, Any]) -> str:
    """The prefix under which the framework mounted the application that has the route; not the server's own."""
    root, outer = scope.get("root_path", ""), scope.get("app_root_path", "")
    return str(root).removeprefix(str(outer)) if root else ""


def _find(routes: Iterable[Any], endpoint: Any, prefix: str = "", depth: int = 0) -> str | None:
    for route in routes:
        path = prefix + getattr(route, "path", "")
        if getattr(route, "endpoint", None) is endpoint:
            return path
        inner = getattr(route, "routes", None)
        if inner and depth < 10:
            found = _find(inner, endpoint, path, depth + 1)
            if found is not None:
                return found
    return None


def wsgi_route(environ: Mapping[str, Any]) -> str | None:
    """The template that Flask or Django routed the request by, such as `/users/<id>`; else None."""
    rule = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None)
    if isinstance(rule, str):
        return rule
    return _django_route(environ.get("PATH_INFO", "")) if "django" in sys.modules else None


def _django_route(path: str) -> str | None:
    try:
        from django.conf import settings
        from django.urls import resolve

        return f"/{resolve(path).route}" if settings.configured else None
    except Exception:  # not a Django application after all, or a path that it does not know
        return None
