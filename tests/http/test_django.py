"""Route templates of Django, behind a WSGI and an ASGI server."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import django
import httpx
import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from kai_tracing_core import SpanStatusCode, TracingService
from kai_tracing_core.http import TracingMiddleware, TracingWsgiMiddleware
from tests.http.conftest import Recorded, Serve


def _user(request: HttpRequest, user: int) -> HttpResponse:
    return HttpResponse(f"user {user}")


def _fail(request: HttpRequest) -> HttpResponse:
    raise ValueError("out of stock")


@pytest.fixture(scope="module", autouse=True)
def configured() -> None:
    """A Django project with three routes."""
    urls: Any = ModuleType("kai_tracing_test_urls")
    urls.urlpatterns = [path("v1/", include([path("users/<int:user>/", _user)])), path("fail/", _fail)]
    sys.modules[urls.__name__] = urls
    settings.configure(ROOT_URLCONF=urls.__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="test", LOGGING_CONFIG=None)
    django.setup()


@pytest.fixture(params=["wsgi", "asgi"])
def url(request: pytest.FixtureRequest, service: TracingService) -> str:
    """The traced project behind a server of either kind."""
    if request.param == "wsgi":
        from django.core.wsgi import get_wsgi_application

        serve: Serve = request.getfixturevalue("serve_wsgi")
        return serve(TracingWsgiMiddleware(get_wsgi_application(), service=service))
    from django.core.asgi import get_asgi_application

    serve = request.getfixturevalue("serve")
    return serve(TracingMiddleware(get_asgi_application(), service=service))


def test_routes(url: str, recorded: Recorded) -> None:
    """A request is named after the pattern that Django found, a path that it does not know after the method alone."""
    assert httpx.get(f"{url}/v1/users/7/").text == "user 7"
    httpx.get(f"{url}/no/such/path")
    known, unknown = recorded.wait(2)
    assert (known.name, known.attributes["http.route"]) == ("GET /v1/users/<int:user>/", "/v1/users/<int:user>/")
    assert (unknown.name, unknown.attributes["http.response.status_code"]) == ("GET", 404)


def test_error(url: str, recorded: Recorded) -> None:
    """A view that raises is an error."""
    assert httpx.get(f"{url}/fail/").status_code == 500
    span = recorded.one()
    assert (span.name, span.status) == ("GET /fail/", SpanStatusCode.ERROR)
