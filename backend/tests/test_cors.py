"""Pages of other origins send spans from a browser: preflights and requests as browsers make them, to real ports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kai_tracing_backend.access.tokens import Scope, TokenFile
from kai_tracing_backend.app import Backend
from kai_tracing_backend.settings import BackendSettings

from kai_tracing_core.errors import ConfigurationError
from tests.support.backend import JSON, PROTOBUF, Answer, ask, running
from tests.support.otlp import message

SHOP = "https://shop.example.com"
SPANS = message(count=1).SerializeToString()
ALLOW = "Access-Control-Allow-Origin"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """One that takes spans from the shop's pages."""
    with running(tmp_path_factory.mktemp("cors"), cors_origins=(SHOP,)) as made:
        yield made


def preflight(port: int, path: str, origin: str, method: str = "POST") -> Answer:
    """What a browser asks before it sends something that no form could send."""
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization,content-type"}
    return ask(port, path, method="OPTIONS", Origin=origin, **asked)


def headers_of(answer: Answer) -> list[str]:
    """The names of the headers that are for pages."""
    return [name for name in answer.headers if name.lower().startswith("access-control")]


def ways(backend: Backend) -> list[tuple[int, str, bytes, str]]:
    """Port, path, body and type of requests with spans."""
    settings = backend.settings
    return [
        (settings.otlp_http_port, "/v1/traces", SPANS, PROTOBUF),
        (settings.otlp_http_port, "/v1/traces", b"{}", JSON),
        (settings.zipkin_port, "/api/v2/spans", b"[]", JSON),
        (settings.zipkin_port, "/api/v1/spans", b"[]", JSON),
    ]


def test_pages_that_a_setting_names_may_send(backend: Backend) -> None:
    """The preflight allows POST with their headers, for a while; the answer may be read, `Retry-After` too."""
    for port, path, body, kind in ways(backend):
        asked = preflight(port, path, SHOP)
        assert (asked.status, asked.headers[ALLOW]) == (200, SHOP)
        assert "Origin" in asked.headers["Vary"]
        assert asked.headers["Access-Control-Allow-Methods"] == "POST"
        assert {"authorization", "content-type"} <= set(asked.headers["Access-Control-Allow-Headers"].split(","))
        assert asked.headers["Access-Control-Allow-Credentials"] == "true"
        assert int(asked.headers["Access-Control-Max-Age"]) > 0
        sent = ask(port, path, body, kind, Origin=SHOP)
        assert sent.status in (200, 202)
        assert sent.headers[ALLOW] == SHOP
        assert sent.headers["Access-Control-Expose-Headers"] == "Retry-After"


def test_pages_of_others_may_not(backend: Backend) -> None:
    """Another name, scheme or port, and a page without an origin: no header for them, and nothing is taken."""
    others = ("https://evil.example", "http://shop.example.com", f"{SHOP}:8443", f"{SHOP}.evil.example", "null")
    for port, path, body, kind in ways(backend):
        for origin in others:
            asked = preflight(port, path, origin)
            assert asked.status >= 400
            assert headers_of(asked) == []
        sent = ask(port, path, body, kind, Origin=others[0])
        assert (sent.status, headers_of(sent)) == (403, [])


def test_they_may_send_and_not_read(backend: Backend) -> None:
    """Zipkin's port answers queries, too, and the API's all; none of that is for pages of other origins."""
    settings = backend.settings
    for port, path in ((settings.zipkin_port, "/api/v2/services"), (settings.api_port, "/api/v1/services")):
        assert headers_of(preflight(port, path, SHOP, "GET")) == []
        assert headers_of(ask(port, path, Origin=SHOP)) == []
    assert headers_of(preflight(settings.api_port, "/api/v1/retention/sweep", SHOP)) == []
    assert ask(settings.api_port, "/api/v1/retention/sweep", b"{}", Origin=SHOP).status == 403


def test_nobody_may_unless_it_is_set(tmp_path: Path) -> None:
    """By default there are no headers for pages; a name of `allowed_hosts` may send, and not read the answer."""
    with running(tmp_path, allowed_hosts=("shop.example.com",)) as backend:
        for port, path, body, kind in ways(backend):
            assert headers_of(preflight(port, path, SHOP)) == []
            sent = ask(port, path, body, kind, Origin=SHOP)
            assert sent.status in (200, 202)
            assert headers_of(sent) == []


def test_a_star_is_everybody_and_a_name_that_was_pointed_here_is_not(tmp_path: Path) -> None:
    """Pages of any origin; but the host that they send to must be a name of this machine all the same."""
    with running(tmp_path, cors_origins=("*",)) as backend:
        for port, path, body, kind in ways(backend):
            for origin in ("https://any.example", "null"):
                assert preflight(port, path, origin).headers[ALLOW] == origin
                assert ask(port, path, body, kind, Origin=origin).headers[ALLOW] == origin
            assert ask(port, path, body, kind, Origin="http://any.example", Host="any.example").status == 403


def test_tokens_are_wanted_of_pages_too(tmp_path: Path) -> None:
    """The preflight, which has none, is answered; a request without is refused so that the page can see why."""
    _, token = TokenFile(tmp_path / "data" / "tokens.json").create("page", {Scope.INGEST})
    with running(tmp_path, cors_origins=(SHOP,)) as backend:
        for port, path, body, kind in ways(backend):
            assert preflight(port, path, SHOP).status == 200
            refused = ask(port, path, body, kind, Origin=SHOP)
            assert (refused.status, refused.headers[ALLOW]) == (401, SHOP)
            sent = ask(port, path, body, kind, Origin=SHOP, Authorization=f"Bearer {token}")
            assert sent.status in (200, 202)
            assert headers_of(ask(port, path, body, kind, Origin="https://evil.example")) == []


def test_origins_are_written_as_browsers_do() -> None:
    """Capitals, a slash and the scheme's own port go; what is no origin is an error that says how one is written."""
    said = "HTTPS://Shop.example.com:443/, http://[::1]:3000,http://localhost:80, https://a:8443,*"
    known = ("https://shop.example.com", "http://[::1]:3000", "http://localhost", "https://a:8443", "*")
    assert BackendSettings(cors_origins=said).cors_origins == known
    for wrong in ("shop.example.com", "https://a/path", "https://", "https://me@a", "https://a:port", "https://*.a"):
        with pytest.raises(ConfigurationError, match=r"TRACING_BACKEND_CORS_ORIGINS.* is no origin"):
            BackendSettings(cors_origins=wrong)
