"""From spans to measurements: weights, bounds, threads and forks."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kai_tracing_core import SpanKind, SpanStatusCode
from kai_tracing_core.telemetry.contract import (
    OTHER,
    OVERFLOW,
    HttpRequest,
    Measurement,
    Operation,
    TelemetryService,
)
from kai_tracing_core.telemetry.histogram import DURATION_BOUNDS
from kai_tracing_core.telemetry.inmemory import InMemoryTelemetry
from kai_tracing_core.testing.ids import FixedClock
from tests.telemetry.conftest import TRACES, EvenIds, Measured, one_in_ten


def test_duration_calls_errors(measured: Measured, clock: FixedClock) -> None:
    """Each operation has its calls, its errors and its durations in the right buckets."""
    telemetry = InMemoryTelemetry()
    service = measured(telemetry)
    for seconds in (0.001, 0.02, 0.02, 20.0):
        with service.span("checkout"):
            clock.advance(seconds)
    with pytest.raises(ZeroDivisionError), service.span("checkout"):
        raise ZeroDivisionError
    ok = telemetry.durations()[Operation("shop", "checkout", "internal", "ok")]
    assert (ok.weight, ok.errors) == (4, 0)
    assert ok.total == pytest.approx(20.041)
    assert ok.buckets[0] == 1
    assert ok.buckets[DURATION_BOUNDS.index(0.025)] == 2
    assert ok.buckets[-1] == 1
    assert telemetry.durations()[Operation("shop", "checkout", "internal", "error")].errors == 1
    assert (telemetry.calls("checkout"), telemetry.errors("checkout")) == (5, 1)


def test_status_class(measured: Measured) -> None:
    """The status class is that of HTTP where there is one; an error with status 200 is counted with the others."""
    telemetry = InMemoryTelemetry()
    service = measured(telemetry)
    for status, code in ((200, SpanStatusCode.UNSET), (200, SpanStatusCode.ERROR), (503, SpanStatusCode.ERROR)):
        with service.span("GET", kind=SpanKind.SERVER, attributes={"http.response.status_code": status}) as span:
            span.set_status(code)
    with service.span("GET", kind=SpanKind.SERVER, attributes={"http.response.status_code": "nonsense"}):
        pass
    found = {operation.status_class: (each.weight, each.errors) for operation, each in telemetry.durations().items()}
    assert found == {"2xx": (2, 1), "5xx": (1, 1), "ok": (1, 0)}


def test_weights(measured: Measured, clock: FixedClock) -> None:
    """With a tenth of the traces sampled, the counts are those of all of them."""
    telemetry = InMemoryTelemetry()
    service = measured(telemetry, sampler=one_in_ten(), ids=EvenIds())
    for _ in range(TRACES):
        with service.span("root"), service.span("child"):
            clock.advance(0.5)
    assert telemetry.stats.ended == pytest.approx(2 * TRACES / 10, abs=2)
    for name in ("root", "child"):
        assert telemetry.calls(name) == pytest.approx(TRACES, rel=0.02)
    total = telemetry.durations()[Operation("shop", "root", "internal", "ok")].total
    assert total == pytest.approx(TRACES * 0.5, rel=0.02)


def test_http_requests(measured: Measured) -> None:
    """HTTP spans are also measured by the attributes of the semantic conventions, and by no other ones."""
    telemetry = InMemoryTelemetry()
    service = measured(telemetry)
    client = {
        "http.request.method": "GET",
        "server.address": "db",
        "server.port": 80,
        "http.response.status_code": 500,
        "error.type": "500",
    }
    server = {"http.request.method": "GET", "url.scheme": "http", "http.route": "/cart/{id}"}
    with service.span("GET", kind=SpanKind.CLIENT, attributes={**client, "url.full": "http://db/17"}):
        pass
    with service.span("GET /cart/{id}", kind=SpanKind.SERVER, attributes={**server, "client.address": "10.0.0.1"}):
        pass
    with service.span("not HTTP", kind=SpanKind.CLIENT, attributes={"server.address": "db"}):
        pass
    assert {request.metric: dict(request.attributes) for request in telemetry.http_durations()} == {
        "http.client.request.duration": client,
        "http.server.request.duration": server,
    }


def test_bounded(measured: Measured) -> None:
    """Beyond the bound, operations are counted as one, names are cut, and no call is lost."""
    telemetry = InMemoryTelemetry()
    service = measured(telemetry, max_operations=10)
    for number in range(50):
        attributes = {"http.request.method": "GET", "server.address": f"host-{number}"}
        service.span(f"{number}" + "x" * 1000, kind=SpanKind.CLIENT, attributes=attributes).end()
    operations = telemetry.durations()
    assert len(operations) == 11
    assert operations[Operation("shop", OTHER, "client", "ok")].weight == 40
    assert max(len(operation.name) for operation in operations) == 255
    requests = telemetry.http_durations()
    assert len(requests) == 11
    assert requests[HttpRequest(is_client=True, attributes=OVERFLOW)].weight == 40


def test_values_of_any_kind(measured: Measured) -> None:
    """Attributes that are no labels at all do not get in the way."""
    telemetry = InMemoryTelemetry()
    service = measured(telemetry)
    odd = {"http.request.method": ["GET"], "http.response.status_code": {"a": object()}}
    service.span("odd", kind=SpanKind.SERVER, attributes=odd).end()
    assert telemetry.calls("odd") == 1


def test_threads(measured: Measured) -> None:
    """Nothing is lost where many threads count the same operations at once."""
    telemetry = InMemoryTelemetry()
    service = measured(telemetry)
    barrier = threading.Barrier(8)

    def work(_: int) -> None:
        barrier.wait(10)
        for number in range(500):
            service.span(f"operation {number % 5}").end()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert [telemetry.calls(f"operation {number}") for number in range(5)] == [800] * 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_fork(measured: Measured) -> None:
    """A forked child counts from zero, even while another thread of its parent holds the locks."""
    telemetry = InMemoryTelemetry()
    service = measured(telemetry)
    service.span("before").end()
    histogram = next(iter(telemetry._operations.values()))
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with histogram._lock:
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        service.span("before").end()
        os._exit(0 if telemetry.calls("before") == 1 else 1)
    done.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert telemetry.calls("before") == 1


class _Broken(TelemetryService):
    """A telemetry service that raises wherever it is asked."""

    def record(self, measurement: Measurement) -> None:
        raise RuntimeError("broken")

    def flush(self, timeout: float) -> bool:
        raise RuntimeError("broken")

    def close(self) -> None:
        raise RuntimeError("broken")


def test_one_that_raises(measured: Measured, caplog: pytest.LogCaptureFixture) -> None:
    """A telemetry service that raises harms neither the application nor the next one."""
    telemetry = InMemoryTelemetry()
    service = measured(_Broken(), telemetry)
    service.span("work").end()
    assert telemetry.calls("work") == 1
    assert service.flush() is False
    assert service.shutdown() is False
    assert "raised" in caplog.text


def test_stats(measured: Measured) -> None:
    """What tracing says of itself is there to be read."""
    telemetry = InMemoryTelemetry()
    service = measured(telemetry, sampler=one_in_ten(), ids=EvenIds())
    for _ in range(10):
        service.span("work").end()
    stats = telemetry.stats
    assert stats.started == 10
    assert stats.started == stats.unsampled + stats.ended
