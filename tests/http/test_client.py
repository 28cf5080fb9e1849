"""The API client against a real server: what its spans say, what it sends, what it leaves alone."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest
from kai_tracing_inmemory import InMemoryProvider

from kai_tracing_core import SpanKind, SpanStatusCode, TracingService
from kai_tracing_core.http import (
    AsyncTracingTransport,
    ClientTracer,
    TracingMiddleware,
    TracingTransport,
    create_api_client,
    create_async_api_client,
)
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.redaction import Redactor
from tests.http.calling import Calls, call_async, call_sync
from tests.http.conftest import Recorded
from tests.http.site import Site

both = pytest.mark.parametrize("call", [call_sync, call_async], ids=["sync", "async"])


@both
def test_span_of_a_request(call: Calls, recorded: Recorded, site: Site) -> None:
    """One CLIENT span with the stable conventions' attributes and nothing else, ended when the body was read."""
    [response] = call(recorded.service, ("POST", f"{site.url}/cart?colour=red", {"content": b"seven"}))
    span = recorded.one()
    assert response.status_code == 200
    assert (span.name, span.kind, span.status) == ("POST", SpanKind.CLIENT, SpanStatusCode.UNSET)
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": site.port,
        "url.full": f"{site.url}/cart?colour=red",
        "http.request.body.size": 5,
        "http.response.status_code": 200,
        "http.response.body.size": 2,
        "network.protocol.version": "1.1",
    }
    assert not span.events


@both
def test_context_is_sent(call: Calls, recorded: Recorded, site: Site) -> None:
    """The request carries the span's own identity, its parent is the current span, and baggage goes along."""
    service = recorded.service
    with service.span("checkout") as outer:
        service.set_baggage("tenant", "t1")
        call(service, ("GET", site.url))
        service.remove_baggage("tenant")
    span = next(span for span in recorded.wait(2) if span.kind is SpanKind.CLIENT)
    headers = site.requests[0].headers
    assert headers["traceparent"] == f"00-{span.trace_id}-{span.span_id}-03"
    assert headers["baggage"] == "tenant=t1"
    assert span.parent_id == outer.span_id


@both
@pytest.mark.parametrize(("status", "is_error"), [(200, False), (302, False), (404, True), (500, True)])
def test_status(call: Calls, status: int, is_error: bool, recorded: Recorded, site: Site) -> None:
    """4xx and 5xx are errors of the caller's, named by their code alone; all else is none."""
    site.script.append(status)
    call(recorded.service, ("GET", site.url))
    span = recorded.one()
    assert span.status is (SpanStatusCode.ERROR if is_error else SpanStatusCode.UNSET)
    assert span.attributes.get("error.type") == (str(status) if is_error else None)
    assert span.status_message is None


@both
def test_connection_refused(call: Calls, recorded: Recorded) -> None:
    """Without a connection the span has the exception, and the caller gets it."""
    [error] = call(recorded.service, ("GET", "http://127.0.0.1:1/"), retry=None)
    span = recorded.one()
    assert isinstance(error, httpx.ConnectError)
    assert span.status is SpanStatusCode.ERROR
    assert span.attributes["error.type"] == "httpx.ConnectError"
    assert [event.name for event in span.events] == ["exception"]


@both
def test_redirects(call: Calls, recorded: Recorded, site: Site) -> None:
    """Each redirect is a request of its own: its own span, headers and ordinal; they are siblings."""
    with recorded.service.span("outer"):
        call(recorded.service, ("GET", f"{site.url}/redirect"), follow_redirects=True)
    outer, first, second = recorded.wait(3)
    assert [span.attributes["http.response.status_code"] for span in (first, second)] == [302, 200]
    assert [span.attributes.get("http.request.resend_count") for span in (first, second)] == [None, 1]
    assert {first.parent_id, second.parent_id} == {outer.span_id}
    assert [request.headers["traceparent"].split("-")[2] for request in site.requests] == [
        first.span_id,
        second.span_id,
    ]


@both
def test_without_tracing(call: Calls, recorded: Recorded, site: Site) -> None:
    """`use_tracing=False` makes no spans and sends no headers, and still repeats what failed."""
    site.script.append(503)
    with recorded.service.span("outer"):
        call(recorded.service, ("GET", site.url), use_tracing=False)
    recorded.one()
    assert len(site.requests) == 2
    assert not any({"traceparent", "tracestate", "baggage"} & {*request.headers} for request in site.requests)


@both
def test_own_attributes(call: Calls, recorded: Recorded, site: Site) -> None:
    """`tracing_attributes` are on every span; `url_template` names it."""
    attributes = {"service.name": "custom-service", "client.version": "1.0.0"}
    request = ("GET", f"{site.url}/users/7", {"extensions": {"url_template": "/users/{id}"}})
    call(recorded.service, request, tracing_attributes=attributes)
    span = recorded.one()
    assert attributes.items() <= dict(span.attributes).items()
    assert (span.name, span.attributes["url.template"]) == ("GET /users/{id}", "/users/{id}")


@both
def test_captured_headers(call: Calls, recorded: Recorded, site: Site) -> None:
    """Only the headers that were asked for are recorded, each as a list."""
    site.script.append((200, {"X-Cache": "hit", "X-Other": "1"}))
    call(
        recorded.service,
        ("GET", site.url, {"headers": {"X-Tenant": "t1"}}),
        capture_request_headers=["x-tenant"],
        capture_response_headers=["X-Cache"],
    )
    attributes = recorded.one().attributes
    headers = {key: value for key, value in attributes.items() if ".header." in key}
    assert headers == {"http.request.header.x-tenant": ["t1"], "http.response.header.x-cache": ["hit"]}


@both
def test_url_redaction(call: Calls, recorded: Recorded, site: Site) -> None:
    """Passwords and signatures in the URL reach the server, but no span."""
    call(recorded.service, ("GET", f"http://user:secret@127.0.0.1:{site.port}/?sig=hidden&page=2"))
    assert site.requests[0].path == "/?sig=hidden&page=2"
    url = recorded.one().attributes["url.full"]
    assert url == f"http://REDACTED:REDACTED@127.0.0.1:{site.port}/?sig=[REDACTED]&page=2"


def test_unknown_method(recorded: Recorded, site: Site) -> None:
    """A method that nobody knows is `_OTHER`, and what it was is kept."""
    call_sync(recorded.service, ("BREW", site.url))
    span = recorded.one()
    assert span.name == "HTTP"
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "BREW"


def test_stream_ends_with_its_body(recorded: Recorded, site: Site) -> None:
    """The span of a streamed response runs until the last part was read."""
    with create_api_client(service=recorded.service) as client, client.stream("GET", f"{site.url}/stream") as response:
        parts = response.iter_bytes()
        assert next(parts) == b"first"
        recorded.wait(0)
        site.gate.set()
        assert list(parts) == [b"last"]
    assert recorded.one().status is SpanStatusCode.UNSET


def test_stream_ends_with_its_closing(recorded: Recorded, site: Site) -> None:
    """A streamed response that is given up ends its span, without an error."""
    with create_api_client(service=recorded.service) as client:
        with client.stream("GET", f"{site.url}/stream") as response:
            next(response.iter_raw())
            recorded.wait(0)
        assert recorded.one().status is SpanStatusCode.UNSET
        site.gate.set()


def test_async_stream(recorded: Recorded, site: Site) -> None:
    """The same for asyncio, read to the end and given up."""

    async def main() -> None:
        async with create_async_api_client(service=recorded.service) as client:
            async with client.stream("GET", f"{site.url}/stream") as response:
                parts = response.aiter_bytes()
                assert await anext(parts) == b"first"
                recorded.wait(0)
                site.gate.set()
                assert [part async for part in parts] == [b"last"]
            recorded.one()
            async with client.stream("GET", f"{site.url}/big"):
                recorded.wait(1)
            recorded.wait(2)

    asyncio.run(main())


@both
def test_body_that_breaks_off(call: Calls, recorded: Recorded, site: Site) -> None:
    """An error in the middle of the body is one of the span, though the head said 200."""
    [error] = call(recorded.service, ("GET", f"{site.url}/cut"))
    span = recorded.one()
    assert isinstance(error, httpx.RemoteProtocolError)
    assert span.status is SpanStatusCode.ERROR
    assert span.attributes["error.type"] == "httpx.RemoteProtocolError"
    assert span.attributes["http.response.status_code"] == 200


@both
def test_large_bodies(call: Calls, recorded: Recorded, site: Site) -> None:
    """Bodies of a megabyte go both ways whole."""
    [response] = call(recorded.service, ("POST", f"{site.url}/big", {"content": b"y" * 2**20}))
    assert response.content == b"x" * 2**20
    assert site.requests[0].body == b"y" * 2**20
    attributes = recorded.one().attributes
    assert attributes["http.request.body.size"] == attributes["http.response.body.size"] == 2**20


def test_cancellation_is_no_error(recorded: Recorded, site: Site) -> None:
    """A request that its task gives up ends its span without an error, and nothing stays current."""

    async def main() -> None:
        async with create_async_api_client(service=recorded.service) as client:
            task = asyncio.create_task(client.get(f"{site.url}/hang"))
            await asyncio.to_thread(site.asked.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert recorded.service.get_current_span() is None

    asyncio.run(main())
    span = recorded.one()
    assert span.status is SpanStatusCode.UNSET
    assert not span.events
    assert "error.type" not in span.attributes


def test_siblings_in_one_loop(recorded: Recorded, site: Site) -> None:
    """Requests that run at once in one event loop are children of the same span, not of one another."""

    async def main() -> None:
        async with create_async_api_client(service=recorded.service) as client:
            with recorded.service.span("outer"):
                await asyncio.gather(*(client.get(site.url) for _ in range(5)))

    asyncio.run(main())
    spans = recorded.wait(6)
    outer = next(span for span in spans if span.name == "outer")
    assert [span.parent_id for span in spans if span is not outer] == [outer.span_id] * 5


def test_httpx_options_pass(recorded: Recorded, site: Site) -> None:
    """Base URL, headers, parameters, authentication, hooks and all methods are httpx's own."""
    seen: list[str] = []
    options: dict[str, Any] = {
        "base_url": f"{site.url}/api",
        "headers": {"X-Tenant": "t1"},
        "params": {"v": "1"},
        "auth": ("user", "secret"),
        "event_hooks": {"request": [lambda request: seen.append(request.method)]},
        "timeout": 5,
    }
    with create_api_client(service=recorded.service, **options) as client:
        for method in ("get", "post", "put", "patch", "delete", "head", "options"):
            assert getattr(client, method)("/users").status_code == 200
    assert seen == ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
    assert {request.path for request in site.requests} == {"/api/users?v=1"}
    assert all({"x-tenant", "authorization", "traceparent"} <= {*request.headers} for request in site.requests)
    assert [span.name for span in recorded.wait(7)] == seen


def test_mounts_and_proxies(recorded: Recorded, site: Site) -> None:
    """What is mounted is traced as well, a proxy among it; a mount of None still means the default transport."""
    proxied = create_api_client(service=recorded.service, proxy=site.url, retry=None)
    with proxied:
        proxied.get("http://elsewhere.example/path")
    assert site.requests[0].path == "http://elsewhere.example/path"
    assert recorded.one().attributes["server.address"] == "elsewhere.example"
    mounts = {"all://mocked.example": httpx.MockTransport(lambda _: httpx.Response(204)), "all://127.0.0.1": None}
    with create_api_client(service=recorded.service, mounts=mounts) as client:
        assert client.get("http://mocked.example/").status_code == 204
        assert client.get(site.url).status_code == 200
    recorded.wait(3)


def test_digest_authentication(recorded: Recorded, site: Site) -> None:
    """Each request of an authentication flow is a span, the second one a resend."""
    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'}
    site.script.append((401, challenge))
    call_sync(recorded.service, ("GET", site.url, {"auth": httpx.DigestAuth("user", "secret")}))
    spans = recorded.wait(2)
    assert [span.attributes.get("http.request.resend_count") for span in spans] == [None, 1]


def test_own_client(recorded: Recorded, site: Site) -> None:
    """`TracingTransport` traces a client that is kept, and repeats nothing unless told so."""
    site.script.append(503)
    tracer = ClientTracer(recorded.service)
    with httpx.Client(transport=TracingTransport(tracer=tracer)) as client:
        assert client.get(site.url).status_code == 503
    recorded.one()

    async def main() -> None:
        async with httpx.AsyncClient(transport=AsyncTracingTransport(tracer=tracer)) as client:
            assert (await client.get(site.url)).status_code == 200

    asyncio.run(main())
    recorded.wait(2)


def test_from_several_threads(recorded: Recorded, site: Site) -> None:
    """One client may be used by many threads at once; every request has its own span."""
    with create_api_client(service=recorded.service) as client:
        threads = [threading.Thread(target=client.get, args=(site.url,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    spans = recorded.wait(8)
    assert len({span.trace_id for span in spans}) == 8
    sent = {request.headers["traceparent"].split("-")[2] for request in site.requests}
    assert sent == {span.span_id for span in spans}


def test_transport_is_under_the_span(recorded: Recorded) -> None:
    """What happens below the client, such as resolving a name, is a child of the request's span."""
    service = recorded.service

    def answer(_: httpx.Request) -> httpx.Response:
        with service.span("below"):
            return httpx.Response(200)

    call_sync(service, ("GET", "http://a.example/"), transport=httpx.MockTransport(answer))
    request, below = recorded.wait(2)
    assert below.parent_id == request.span_id


def test_disabled(site: Site) -> None:
    """While tracing is disabled requests go out as they are, but an incoming context is passed on."""
    service = TracingService(auto=False)
    call_sync(service, ("GET", site.url))
    assert "traceparent" not in site.requests[0].headers
    incoming = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with service.use_context(service.extract_context(incoming)):
        call_sync(service, ("GET", site.url))
    assert site.requests[1].headers["traceparent"] == incoming["traceparent"]


def test_baggage_stays_at_home(recorded: Recorded, site: Site) -> None:
    """Baggage is kept from hosts that may not see it; the trace context is not."""
    from kai_tracing_core.propagation.baggage import BaggageHosts

    service = recorded.service
    service.baggage_hosts = BaggageHosts(["*.internal"])
    with service.span("outer"):
        service.set_baggage("tenant", "t1")
        call_sync(service, ("GET", site.url))
        service.remove_baggage("tenant")
    assert "baggage" not in site.requests[0].headers
    assert "traceparent" in site.requests[0].headers


def test_secrets_of_both_sides(site: Site) -> None:
    """With the redaction that is on by default, neither captured headers nor queries nor events show a secret."""
    recorded = Recorded()
    service = TracingService(InMemoryProvider(config=PipelineConfig(processors=(Redactor(), recorded))))
    captured = ["authorization", "cookie", "x-tenant"]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"set-cookie", b"id=hidden")]})
        await send({"type": "http.response.body"})

    traced = TracingMiddleware(
        app, service=service, capture_request_headers=captured, capture_response_headers=["set-cookie"]
    )
    headers = {"Authorization": "Bearer hidden", "Cookie": "id=hidden", "X-Tenant": "t1"}
    call_async(
        service,
        ("GET", "http://user:hidden@a.example/?token=hidden&page=2", {"headers": headers}),
        transport=httpx.ASGITransport(traced),
        capture_request_headers=captured,
        capture_response_headers=["set-cookie"],
    )
    client, server = recorded.wait(2)
    assert server.attributes["url.query"] == "token=[REDACTED]&page=2"
    for span in (client, server):
        assert "hidden" not in str(dict(span.attributes))
        assert span.attributes["http.request.header.authorization"] == ["[REDACTED]"]
        assert span.attributes["http.request.header.x-tenant"] == ["t1"]
        assert span.attributes["http.response.header.set-cookie"] == ["[REDACTED]"]
    service.shutdown()


@both
def test_an_error_that_no_repetition_mends(call: Calls, recorded: Recorded) -> None:
    """It reaches the caller after the first attempt, of which there is a span, an error."""

    def refuse(_: httpx.Request) -> httpx.Response:
        raise LookupError("no such tenant")

    [error] = call(recorded.service, ("GET", "http://a.example/"), transport=httpx.MockTransport(refuse))
    assert isinstance(error, LookupError)
    assert recorded.one().attributes["error.type"] == "LookupError"


@both
def test_an_answer_made_in_this_process(call: Calls, recorded: Recorded) -> None:
    """Nobody reads or closes the body of a response that is there whole: the span ends with the call."""
    call(recorded.service, ("GET", "http://a.example/"), transport=httpx.MockTransport(lambda _: httpx.Response(200)))
    assert recorded.one().status is SpanStatusCode.UNSET


def test_an_async_body_that_is_given_up(recorded: Recorded, site: Site) -> None:
    """Whoever stops reading before the end has not failed."""

    async def main() -> None:
        async with create_async_api_client(service=recorded.service) as client:
            async with client.stream("GET", f"{site.url}/stream") as response:
                parts = response.stream.__aiter__()
                assert await anext(parts) == b"first"
                await parts.aclose()
            site.gate.set()

    asyncio.run(main())
    assert recorded.one().status is SpanStatusCode.UNSET
