"""What the client repeats, how long it waits, and what the trace shows of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from time import monotonic

import httpx
import pytest

from kai_tracing_core import SpanKind, SpanStatusCode, TracingService
from kai_tracing_core.http import RetryOptions, create_api_client, create_async_api_client
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.retry import parse_retry_after
from kai_tracing_core.sampling.always import AlwaysOff
from tests.http.calling import Calls, call_async, call_sync
from tests.http.conftest import Recorded
from tests.http.site import Site

both = pytest.mark.parametrize("call", [call_sync, call_async], ids=["sync", "async"])
QUICK = RetryOptions(initial=0.01, maximum=0.02)


@both
@pytest.mark.parametrize("inside", [True, False], ids=["in a span", "as a root"])
def test_repeated_attempts(call: Calls, inside: bool, recorded: Recorded, site: Site) -> None:
    """503, 503, 200: three CLIENT spans in one parent, which has an event for each retry and succeeds."""
    site.script.extend([503, 503])
    service = recorded.service
    if inside:
        with service.span("outer"):
            [response] = call(service, ("GET", site.url), retry=QUICK)
    else:
        [response] = call(service, ("GET", site.url), retry=QUICK)
    assert response.status_code == 200
    spans = recorded.wait(5 if inside else 4)
    attempts = [span for span in spans if span.kind is SpanKind.CLIENT]
    parent = next(span for span in spans if span.name == "GET with retries")
    outer = next((span for span in spans if span.name == "outer"), None)
    assert {span.trace_id for span in spans} == {parent.trace_id}
    assert {span.parent_id for span in attempts} == {parent.span_id}
    assert parent.parent_id == (outer.span_id if outer is not None else None)
    assert [span.attributes["http.response.status_code"] for span in attempts] == [503, 503, 200]
    assert [span.attributes.get("http.request.resend_count") for span in attempts] == [None, 1, 2]
    assert [span.status for span in attempts] == [SpanStatusCode.ERROR, SpanStatusCode.ERROR, SpanStatusCode.UNSET]
    assert (parent.kind, parent.status) == (SpanKind.INTERNAL, SpanStatusCode.UNSET)
    assert parent.start_time == attempts[0].start_time
    assert parent.end_time >= attempts[-1].end_time
    events = [
        (event.name, event.attributes["retry.reason"], event.attributes["retry.attempt"]) for event in parent.events
    ]
    assert events == [("retry", "503", 2), ("retry", "503", 3)]
    assert all(0 < event.attributes["retry.delay"] <= 0.02 for event in parent.events)
    sent = [request.headers["traceparent"].split("-")[2] for request in site.requests]
    assert sent == [span.span_id for span in attempts]


@both
def test_attempts_run_out(call: Calls, recorded: Recorded, site: Site) -> None:
    """After the last attempt the caller gets its response, and the call's span is an error."""
    site.script.extend([503, 502, 504])
    [response] = call(recorded.service, ("GET", site.url), retry=QUICK)
    assert response.status_code == 504
    parent = recorded.wait_for("GET with retries")
    recorded.wait(4)
    assert parent.status is SpanStatusCode.ERROR
    assert parent.attributes["error.type"] == "504"


@both
def test_connection_reset(call: Calls, recorded: Recorded, site: Site) -> None:
    """A connection that breaks is a reason to try again; the attempt has the exception, the retry its name."""
    site.script.append("reset")
    [response] = call(recorded.service, ("GET", site.url), retry=QUICK)
    assert response.status_code == 200
    parent = recorded.wait_for("GET with retries")
    failed = next(span for span in recorded.wait(3) if span.status is SpanStatusCode.ERROR)
    assert failed.attributes["error.type"] in {"httpx.ReadError", "httpx.RemoteProtocolError"}
    assert failed.events[0].name == "exception"
    assert parent.events[0].attributes["retry.reason"] == failed.attributes["error.type"]
    assert parent.status is SpanStatusCode.UNSET


@both
def test_resets_run_out(call: Calls, recorded: Recorded, site: Site) -> None:
    """When every attempt fails the caller gets the last exception, as without retries."""
    site.script.extend(["reset"] * 3)
    [error] = call(recorded.service, ("GET", site.url), retry=QUICK)
    assert isinstance(error, (httpx.ReadError, httpx.RemoteProtocolError))
    assert recorded.wait_for("GET with retries").status is SpanStatusCode.ERROR
    recorded.wait(4)


def test_retry_after_seconds(recorded: Recorded, site: Site) -> None:
    """Retry-After in seconds goes before the own wait, which would have been far longer."""
    site.script.append((429, {"Retry-After": "0"}))
    began = monotonic()
    call_sync(recorded.service, ("GET", site.url), retry=RetryOptions(initial=20, maximum=20))
    assert monotonic() - began < 10
    assert recorded.wait_for("GET with retries").events[0].attributes["retry.delay"] == 0
    recorded.wait(3)


def test_retry_after_date(recorded: Recorded, site: Site) -> None:
    """Retry-After may be a date: past ones mean at once, later ones that long."""
    now = datetime.now(timezone.utc)
    past, later = now - timedelta(minutes=1), now + timedelta(seconds=2)
    site.script.append((503, {"Retry-After": format_datetime(past, usegmt=True)}))
    site.script.append((503, {"Retry-After": format_datetime(later, usegmt=True)}))
    call_sync(recorded.service, ("GET", site.url), retry=RetryOptions(initial=20, maximum=20))
    delays = [event.attributes["retry.delay"] for event in recorded.wait_for("GET with retries").events]
    assert delays[0] == 0
    assert 0 <= delays[1] <= 2
    recorded.wait(4)


@both
def test_deadline_before_the_wait(call: Calls, recorded: Recorded, site: Site) -> None:
    """No wait begins that would end after the deadline: the caller gets what there is, at once."""
    site.script.append((503, {"Retry-After": "60"}))
    [response] = call(recorded.service, ("GET", site.url))
    assert response.status_code == 503
    assert len(site.requests) == 1
    assert recorded.one().name == "GET"


@both
def test_deadline_of_the_attempts(call: Calls, recorded: Recorded, site: Site) -> None:
    """A repeated attempt does not wait longer for its answer than the deadline leaves, whatever its own timeout."""
    site.script.extend([503, "hang"])
    began = monotonic()
    [error] = call(recorded.service, ("GET", site.url), retry=RetryOptions(initial=0.01, deadline=0.5), timeout=60)
    assert isinstance(error, httpx.ReadTimeout)
    assert monotonic() - began < 20
    recorded.wait(3)


@both
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_not_idempotent(call: Calls, method: str, recorded: Recorded, site: Site) -> None:
    """What may not be done twice is not repeated."""
    site.script.append(503)
    [response] = call(recorded.service, (method, site.url, {"content": b"x"}), retry=QUICK)
    assert response.status_code == 503
    assert len(site.requests) == 1
    recorded.one()


def test_told_to_repeat(recorded: Recorded, site: Site) -> None:
    """A method can be declared safe to repeat; then the whole body goes out again."""
    site.script.append(503)
    retry = RetryOptions(initial=0.01, methods=frozenset(("POST",)))
    [response] = call_sync(recorded.service, ("POST", site.url, {"content": b"body"}), retry=retry)
    assert response.status_code == 200
    assert [request.body for request in site.requests] == [b"body", b"body"]
    recorded.wait(3)


def test_body_that_cannot_be_replayed(recorded: Recorded, site: Site) -> None:
    """A body that is made while it is sent is never sent again, though PUT is idempotent."""

    def parts() -> Iterator[bytes]:
        yield b"once"

    async def async_parts() -> AsyncIterator[bytes]:
        yield b"once"

    site.script.extend([503, 503])
    with create_api_client(service=recorded.service, retry=QUICK) as client:
        assert client.put(site.url, content=parts()).status_code == 503

    async def main() -> None:
        async with create_async_api_client(service=recorded.service, retry=QUICK) as client:
            assert (await client.put(site.url, content=async_parts())).status_code == 503

    asyncio.run(main())
    assert [request.body for request in site.requests] == [b"once", b"once"]
    recorded.wait(2)


def test_redirect_after_retry(recorded: Recorded, site: Site) -> None:
    """The ordinal goes on over retries and redirects of one call."""
    site.script.extend([503, (302, {"Location": "/ok"})])
    call_sync(recorded.service, ("GET", site.url), retry=QUICK, follow_redirects=True)
    attempts = [span for span in recorded.wait(4) if span.kind is SpanKind.CLIENT]
    assert [span.attributes.get("http.request.resend_count") for span in attempts] == [None, 1, 2]


def test_remote_parent(recorded: Recorded, site: Site) -> None:
    """The span around the attempts takes the first one's place, below a parent in another process, too."""
    site.script.append(503)
    service = recorded.service
    remote = service.extract_context({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    with service.use_context(remote):
        call_sync(service, ("GET", site.url), retry=QUICK)
    parent = recorded.wait_for("GET with retries")
    assert (parent.parent_id, parent.has_remote_parent) == ("b7ad6b7169203331", True)
    attempts = [span for span in recorded.wait(3) if span.kind is SpanKind.CLIENT]
    assert [span.has_remote_parent for span in attempts] == [False, False]


def test_not_sampled(site: Site) -> None:
    """What is not sampled is repeated all the same, and every request carries the decision and one trace id."""
    from kai_tracing_inmemory import InMemoryProvider

    site.script.append(503)
    service = TracingService(InMemoryProvider(config=PipelineConfig(sampler=AlwaysOff())))
    [response] = call_sync(service, ("GET", site.url), retry=QUICK)
    assert response.status_code == 200
    sent = [request.headers["traceparent"].split("-") for request in site.requests]
    assert len({parts[1] for parts in sent}) == 1
    assert all(int(parts[3], 16) & 1 == 0 for parts in sent)
    service.shutdown()


def test_cancelled_while_it_waits(recorded: Recorded, site: Site) -> None:
    """A call given up between two attempts ends its spans."""
    site.script.append(503)

    async def main() -> None:
        async with create_async_api_client(service=recorded.service, retry=RetryOptions(initial=20)) as client:
            task = asyncio.create_task(client.get(site.url))
            await asyncio.to_thread(recorded.wait, 1)  # the first attempt has ended
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    recorded.wait_for("GET with retries")
    recorded.wait(2)


@both
def test_without_retries(call: Calls, recorded: Recorded, site: Site) -> None:
    """`retry=None` repeats nothing."""
    site.script.append(503)
    [response] = call(recorded.service, ("GET", site.url), retry=None)
    assert response.status_code == 503
    recorded.one()


def test_behind_the_applications_own_provider(site: Site) -> None:
    """Where a TracerProvider of the application's own makes the spans, which cannot be moved, all are in one trace."""
    from kai_tracing_opentelemetry.joined import JoinedProvider
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    own = TracerProvider(shutdown_on_exit=False)
    own.add_span_processor(SimpleSpanProcessor(kept))
    service = TracingService(JoinedProvider(own))
    site.script.append(503)
    [response] = call_sync(service, ("GET", site.url), retry=QUICK)
    assert response.status_code == 200
    first, second, parent = sorted(kept.get_finished_spans(), key=lambda span: span.end_time)
    assert {span.context.trace_id for span in (first, second)} == {parent.context.trace_id}
    assert parent.parent.span_id == first.context.span_id
    assert second.parent.span_id == parent.context.span_id
    assert [event.attributes["retry.reason"] for event in parent.events] == ["503"]
    service.shutdown()
    own.shutdown()


@pytest.mark.parametrize("value", [None, "", "soon", "nan", "Wed, 99 Nov 2026 01:00:00 GMT"])
def test_a_retry_after_that_says_nothing(value: str | None) -> None:
    """It is as if there were none, whatever a server writes there."""
    assert parse_retry_after(value) is None
