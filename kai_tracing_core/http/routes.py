"""The route template of a request, as the web framework that handled it knows it, for the span's name.

No framework is imported here: each is asked only when it has handled the request itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["asgi_route", "decoded", "wsgi_route"]


def asgi_route(scope: Mapping[str, Any]) -> str | None:
    """The template that Starlette, FastAPI or Django routed the request by, such as `/users/{id}`; else None.

    It begins with the application's root, and with the prefix under which a router or another application is mounted.
    """
    route = scope.get("route") or _endpoints_route(scope)
    if route is None:
        if "django" not in sys.modules or "endpoint" in scope:
            return None
        root = scope.get("root_path", "")
        return _django_route(scope.get("path", "").removeprefix(root), root)
    mounted = getattr(route, "endpoint", None) is None  # all of it is in the prefix
    path = "" if mounted else _own_template(scope, route)
    root = scope.get("root_path", "")
    if root:
        root = _without_values(root, path, scope.get("path_params", {}))
    return root + path or None


def _endpoints_route(scope: Mapping[str, Any]) -> Any:
    """The route that led to the endpoint, for versions of Starlette that tell this and the router only."""
    endpoint = scope.get("endpoint")
    if endpoint is None:
        return None
    routes = _all_routes(getattr(scope.get("router"), "routes", None))
    return next((one for one in routes if _leads_to(one, endpoint, scope)), None)


def _leads_to(route: Any, endpoint: Any, scope: Mapping[str, Any]) -> bool:
    if not hasattr(route, "endpoint"):  # a mount: the prefix is in the root path already
        return getattr(route, "app", None) is endpoint
    return route.endpoint is endpoint and bool(route.matches(scope)[0].value)


def _all_routes(routes: Iterable[Any] | None) -> Iterator[Any]:
    for route in routes or ():
        yield route
        yield from _all_routes(getattr(route, "routes", None))


def _own_template(scope: Mapping[str, Any], route: Any) -> str:
    # Where FastAPI keeps the whole path of a route that `include_router` brought in.
    included = scope["fastapi"].get("effective_route_context") if "fastapi" in scope else None
    if included is not None and included.original_route is route:
        route = getattr(included, "starlette_route", None) or included
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    return path if isinstance(path, str) else ""


def _without_values(root: str, path: str, parameters: Mapping[str, Any]) -> str:
    """A prefix with the names of its parameters, which are those that the path below it does not have."""
    names = {str(value): f"{{{name}}}" for name, value in parameters.items() if f"{{{name}}}" not in path}
    return "/".join(names.get(part, part) for part in root.split("/")) if names else root


def wsgi_route(environ: Mapping[str, Any]) -> str | None:
    """The template that Flask or Django routed the request by, such as `/users/<id>`; else None."""
    root = decoded(environ.get("SCRIPT_NAME", ""))
    request = environ.get("werkzeug.request")
    if request is not None:
        rule = getattr(getattr(request, "url_rule", None), "rule", None)
        return f"{root}{rule}" if isinstance(rule, str) else None
    return _django_route(decoded(environ.get("PATH_INFO", "")), root) if "django" in sys.modules else None


def decoded(path: str) -> str:
    """A path of the WSGI environment, whose characters stand for bytes (PEP 3333, "Unicode Issues"), as text."""
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")


def _django_route(path: str, root: str) -> str | None:
    try:
        from django.conf import settings

        if not settings.configured:
            return None
        from django.urls import resolve

        return f"{root}/{resolve(path).route}"
    except Exception:  # not a Django application after all, or a path that it does not know
        return None
