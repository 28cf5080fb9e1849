"""Every provider that sends over HTTP, against a backend that is down, slow, resetting, or answers rubbish."""

from __future__ import annotations

import socket
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from time import monotonic

import pytest

from kai_tracing_core import RecordingProvider
from kai_tracing_core.processing.retry import RetryPolicy
from tests.faults.conftest import MakeProvider
from tests.support.server import Answer, FaultServer

COUNT = 50
GENEROUS = 20.0  # seconds; far more than needed, so that a busy machine does not fail a test
SHORT = 1.0  # for a request whose end by time-out is waited for


def trace(provider: RecordingProvider, count: int = COUNT) -> set[str]:
    """End so many spans; their ids."""
    ids = set()
    for number in range(count):
        with provider.span(f"span {number}", attributes={"number": number}) as span:
            ids.add(span.span_id)
    return ids


def assert_delivered_once(server: FaultServer, ids: set[str]) -> None:
    """The server accepted each of these spans, once, and no others."""
    assert set(server.deliveries) == ids
    assert set(server.deliveries.values()) <= {1}


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a port where nobody listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([], id="healthy"),
        pytest.param([503, 503], id="503"),
        pytest.param([502, 504], id="502-504"),
        pytest.param([Answer(429, {"Retry-After": "0"})], id="429"),
        pytest.param([Answer(action="reset")] * 2, id="reset"),
        pytest.param([Answer(action="rubbish")], id="rubbish"),
        pytest.param([Answer(action="hang")], id="hang"),
        pytest.param([Answer(action="drip")], id="drip"),
        pytest.param([Answer(action="cut")], id="cut"),
        pytest.param([Answer(503, body=b"\xff" * 200_000)], id="503-long"),
        pytest.param([Answer(200, {"Content-Encoding": "gzip"}, b"this is not gzip")], id="rubbish-body"),
        pytest.param([Answer(200, body=b"\xff" * 200_000)], id="long-answer"),
        pytest.param([Answer(202)], id="202"),
    ],
)
def test_a_passing_fault_costs_no_span(provider_for: MakeProvider, script: list[int | Answer]) -> None:
    """Fifty spans arrive, each once, although the first requests fail in this way."""
    with FaultServer(script) as server:
        provider = provider_for(server.url, timeout=SHORT if _takes_all_its_time(script) else GENEROUS)
        ids = trace(provider)
        assert provider.flush(GENEROUS)
        assert_delivered_once(server, ids)
        stats = provider.stats()
        assert (stats.exported, stats.queued, dict(stats.dropped)) == (COUNT, 0, {})
        assert stats.retries == len(server.requests) - 1


def _takes_all_its_time(script: list[int | Answer]) -> bool:
    return any(isinstance(answer, Answer) and answer.action in ("hang", "drip") for answer in script)


def test_retry_after_is_honoured(provider_for: MakeProvider) -> None:
    """After 429 with Retry-After in seconds the next request comes no sooner than that, after a date likewise."""
    soon = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=2), usegmt=True)
    with FaultServer([Answer(429, {"Retry-After": "0.3"}), Answer(503, {"Retry-After": soon})]) as server:
        provider = provider_for(server.url, RetryPolicy(initial=0.001, maximum=0.001))
        ids = trace(provider)
        assert provider.flush(GENEROUS)
        assert_delivered_once(server, ids)
        first, second, third = (request.at for request in server.requests)
        assert second - first >= 0.3
        assert third - second >= 0.1  # a date has whole seconds: one to two of them are left


@pytest.mark.parametrize("status", [302, 400, 401, 404, 500])
def test_a_refusal_is_final_and_counted(provider_for: MakeProvider, status: int) -> None:
    """What is refused for good is not sent again; it is counted under the status, and the next batch goes out."""
    with FaultServer([Answer(status, {"Location": "/elsewhere"}, b"because")]) as server:
        provider = provider_for(server.url)
        trace(provider)
        assert provider.flush(GENEROUS)
        assert len(server.requests) == 1
        stats = provider.stats()
        assert stats.dropped == {f"http_{status}": COUNT}
        assert stats.last_error is not None
        assert f"answered {status} because" in stats.last_error
        ids = trace(provider)
        assert provider.flush(GENEROUS)
        assert_delivered_once(server, ids)


def test_too_large_is_split(provider_for: MakeProvider) -> None:
    """A server that takes ten spans a request gets them all, in requests that it takes."""
    with FaultServer(max_spans=10) as server:
        provider = provider_for(server.url)
        ids = trace(provider)
        assert provider.flush(GENEROUS)
        assert_delivered_once(server, ids)
        assert provider.stats().exported == COUNT


def test_one_span_that_is_too_large_is_counted(provider_for: MakeProvider) -> None:
    """Where even one span is too much, all of them are dropped under that reason."""
    with FaultServer(max_spans=0) as server:
        provider = provider_for(server.url)
        trace(provider, 3)
        assert provider.flush(GENEROUS)
        assert provider.stats().dropped == {"too_large": 3}


@pytest.mark.parametrize("action", ["hang", "drip"])
def test_a_hanging_backend_blocks_nobody(provider_for: MakeProvider, action: str) -> None:
    """While the backend does not answer, the application goes on, and a flush returns when its time is up."""
    with FaultServer(then=Answer(action=action)) as server:
        provider = provider_for(server.url)
        trace(provider)
        started = monotonic()
        assert not provider.flush(0.2)
        assert server.wait_for(requests=1)
        trace(provider)
        assert monotonic() - started < GENEROUS
        assert provider.stats().queued == 2 * COUNT
        started = monotonic()
        assert not provider.shutdown(0.3)
        assert monotonic() - started < GENEROUS


def test_a_backend_that_is_down_costs_bounded_memory(provider_for: MakeProvider, nobody: str) -> None:
    """Ten thousand spans, nobody who takes them, a queue of 100: at most that many are held, the rest is counted."""
    provider = provider_for(nobody, RetryPolicy(initial=30, maximum=30), max_queue=100)
    trace(provider, 1_000)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(10):
            trace(provider, 900)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 500_000
    provider.shutdown(0.3)
    stats = provider.stats()
    assert stats.exported == 0
    assert stats.ended == 10_000 == stats.queued + sum(stats.dropped.values())
    assert stats.dropped["queue_full"] >= 10_000 - 100 - 512
    assert stats.last_error is not None


def test_a_backend_that_comes_back_gets_what_was_kept(provider_for: MakeProvider) -> None:
    """Spans that ended while nobody listened arrive when somebody does."""
    with FaultServer(then=503) as server:
        provider = provider_for(server.url)
        ids = trace(provider)
        assert not provider.flush(0.3)
        server.then(200)
        assert provider.flush(GENEROUS)
        assert_delivered_once(server, ids)


def test_the_connection_is_kept_alive(provider_for: MakeProvider) -> None:
    """Several batches go over one connection, after an error with a long answer, too."""
    with FaultServer([503, Answer(200, body=b"x" * 1000)]) as server:
        provider = provider_for(server.url)
        for _ in range(3):
            trace(provider, 2)
            assert provider.flush(GENEROUS)
        assert len(server.requests) == 4
        assert len({request.connection for request in server.requests}) == 1


def test_nothing_reaches_the_application(provider_for: MakeProvider) -> None:
    """Values that cannot be encoded are converted or dropped; the spans arrive, and nothing raises."""

    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("no")

    with FaultServer() as server:
        provider = provider_for(server.url)
        with provider.span("lone \ud800 surrogate") as span:
            for number, value in enumerate(
                [Hostile(), object(), b"\xff", 2**70, float("nan"), [1, "a", None], {"a": 1}, "\ud800", None, [], ""]
            ):
                span.set_attribute(f"key {number}", value)
                span.add_event("event \ud800", {"value": value})
            span.set_attribute("", "empty key")
            span.set_attribute(3, "no key")
        provider.span("from the start of time", start_time=0).end(1)
        provider.span("backwards", start_time=10**18).end(5)
        assert provider.flush(GENEROUS)
        assert provider.stats().exported == 3, provider.stats()
        assert len(server.spans) == 3


def test_threads_that_trace_while_the_backend_fails(provider_for: MakeProvider) -> None:
    """Four threads trace on through resets, errors and hangs; every span arrives once."""
    script = [503, Answer(action="reset"), 200, Answer(action="hang"), 429, 200, Answer(action="cut"), 502]
    with FaultServer(script) as server:
        provider = provider_for(server.url, timeout=4 * SHORT)
        ids: list[set[str]] = []
        threads = [threading.Thread(target=lambda: ids.append(trace(provider, 300))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(GENEROUS)
        assert provider.flush(GENEROUS)
        assert_delivered_once(server, set().union(*ids))
