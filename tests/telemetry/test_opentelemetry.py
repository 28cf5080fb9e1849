"""What a standard MeterProvider collects."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import threading
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from kai_tracing_core import SpanKind
from kai_tracing_core.telemetry.contract import Measurement, Operation
from kai_tracing_core.telemetry.histogram import DURATION_BOUNDS
from kai_tracing_core.telemetry.opentelemetry import OpenTelemetryTelemetry
from kai_tracing_core.testing.ids import FixedClock
from tests.telemetry.conftest import TRACES, EvenIds, Measured, one_in_ten

_OPERATION = Operation("shop", "checkout", "internal", "ok")
_ATTRIBUTES = {"service.name": "shop", "span.name": "checkout", "span.kind": "internal", "status.class": "ok"}


class Meters:
    """A MeterProvider of the test's own, and what it collects."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def collect(self) -> dict[str, Any]:
        """By name the metrics."""
        data = self.reader.get_metrics_data()
        found = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    assert metric.name not in found
                    found[metric.name] = metric
        return found


@pytest.fixture
def meters() -> Meters:
    """A MeterProvider of the test's own."""
    return Meters()


def measurement(weight: float = 1.0, seconds: float = 0.03) -> Measurement:
    """A measurement of a span with trace id 5 and span id 6."""
    return Measurement(_OPERATION, seconds, weight, False, 5, 6, 0)


def test_weighted(measured: Measured, meters: Meters, clock: FixedClock) -> None:
    """Calls, errors and durations of sampled spans are those of all operations; a span is the exemplar."""
    service = measured(OpenTelemetryTelemetry(meters.provider), sampler=one_in_ten(), ids=EvenIds())
    for _ in range(TRACES):
        with service.span("checkout"):
            clock.advance(0.03)
    assert service.flush()
    metrics = meters.collect()
    (calls,) = metrics["traces.span.calls"].data.data_points
    assert dict(calls.attributes) == _ATTRIBUTES
    assert calls.value == pytest.approx(TRACES, rel=0.02)
    duration = metrics["traces.span.duration"]
    assert duration.unit == "s"
    (point,) = duration.data.data_points
    assert dict(point.attributes) == _ATTRIBUTES
    assert point.explicit_bounds == DURATION_BOUNDS
    assert point.count == pytest.approx(TRACES, rel=0.02)
    assert point.bucket_counts[DURATION_BOUNDS.index(0.05)] == point.count
    assert point.sum == pytest.approx(point.count * 0.03)
    assert f"{point.exemplars[0].trace_id:032x}" in {span.trace_id for span in service.provider.spans}
    assert "traces.span.errors" not in metrics


def test_fractions(meters: Meters, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight that is no whole number is rounded so that the expected count is right."""
    monkeypatch.setattr(random, "random", random.Random(7).random)
    telemetry = OpenTelemetryTelemetry(meters.provider)
    for _ in range(2000):
        telemetry.record(measurement(weight=2.3))
    assert telemetry.flush()
    telemetry.close()
    metrics = meters.collect()
    assert metrics["traces.span.calls"].data.data_points[0].value == pytest.approx(4600)
    # Four standard deviations of 2000 Bernoulli draws at 0.3 are 82.
    assert metrics["traces.span.duration"].data.data_points[0].count == pytest.approx(4600, abs=82)


def test_http(measured: Measured, meters: Meters, clock: FixedClock) -> None:
    """HTTP spans make the metrics of the semantic conventions; a failed one counts as an error."""
    service = measured(OpenTelemetryTelemetry(meters.provider))
    attributes = {"http.request.method": "GET", "server.address": "db", "server.port": 80}
    with pytest.raises(OSError), service.span("GET", kind=SpanKind.CLIENT, attributes=attributes):
        clock.advance(1)
        raise OSError
    service.flush()
    metrics = meters.collect()
    assert metrics["http.client.request.duration"].unit == "s"
    (point,) = metrics["http.client.request.duration"].data.data_points
    assert (dict(point.attributes), point.sum) == (attributes, 1.0)
    assert "http.server.request.duration" not in metrics
    assert metrics["traces.span.errors"].data.data_points[0].value == 1


def test_never_on_the_application_thread(meters: Meters) -> None:
    """Histograms are recorded on a thread of the sink, by itself, and one that is closed leaves none behind."""
    telemetry = OpenTelemetryTelemetry(meters.provider)
    recorded = threading.Event()
    threads = []
    original = telemetry._instruments.record

    def record(given: Measurement) -> None:
        threads.append(threading.current_thread().name)
        original(given)
        recorded.set()

    telemetry._instruments.record = record
    telemetry.record(measurement())
    assert recorded.wait(30)
    recorded.clear()
    telemetry.record(measurement())
    assert recorded.wait(30)
    telemetry.close()
    assert set(threads) == {"kai-tracing-telemetry"}
    telemetry.record(measurement())
    assert telemetry.flush()
    assert meters.collect()["traces.span.calls"].data.data_points[0].value == 2


def test_bounds(meters: Meters, caplog: pytest.LogCaptureFixture) -> None:
    """A full queue loses durations but no calls, and counts them; no measurement is repeated without end."""
    telemetry = OpenTelemetryTelemetry(meters.provider, queue=3, max_repeat=10)
    with telemetry._draining:  # so that nobody empties the queue
        for _ in range(5):
            telemetry.record(measurement(weight=1e6))
    telemetry.flush()
    metrics = meters.collect()
    telemetry.close()
    assert metrics["traces.span.calls"].data.data_points[0].value == 5e6
    assert metrics["traces.span.duration"].data.data_points[0].count == 30
    assert metrics["kai_tracing.telemetry.lost"].data.data_points[0].value == telemetry.lost == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_self_metrics(measured: Measured, meters: Meters) -> None:
    """Tracing's own counts are observed when metrics are collected, the lost spans by reason."""
    service = measured(OpenTelemetryTelemetry(meters.provider), sampler=one_in_ten(), ids=EvenIds())
    service.provider.store._closed = True  # so that spans are lost
    for _ in range(TRACES):
        service.span("work").end()
    metrics = meters.collect()
    stats = service.stats()
    values = {name: metric.data.data_points[0].value for name, metric in metrics.items() if name.startswith("kai_")}
    assert values == {
        "kai_tracing.spans.started": TRACES,
        "kai_tracing.spans.unsampled": stats.unsampled,
        "kai_tracing.spans.ended": stats.ended,
        "kai_tracing.spans.exported": 0,
        "kai_tracing.spans.spooled": 0,
        "kai_tracing.spans.dropped": stats.ended,
        "kai_tracing.export.retries": 0,
        "kai_tracing.export.duration": 0,
        "kai_tracing.queue.size": 0,
        "kai_tracing.telemetry.lost": 0,
    }
    assert metrics["kai_tracing.spans.dropped"].data.data_points[0].attributes == {"reason": "shut_down"}


def test_again(measured: Measured, meters: Meters, caplog: pytest.LogCaptureFixture) -> None:
    """A second sink on the same MeterProvider goes on with its instruments, and observes what is in use now."""
    first = measured(OpenTelemetryTelemetry(meters.provider))
    first.span("checkout").end()
    first.shutdown()
    second = measured(OpenTelemetryTelemetry(meters.provider))
    second.span("checkout").end()
    second.span("checkout").end()
    second.flush()
    metrics = meters.collect()
    assert metrics["traces.span.calls"].data.data_points[0].value == 3
    assert metrics["kai_tracing.spans.started"].data.data_points[0].value == 2
    assert caplog.text == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_fork(meters: Meters) -> None:
    """A forked child has nothing of its parent's measurements, and a thread of its own."""
    telemetry = OpenTelemetryTelemetry(meters.provider)
    with telemetry._draining:
        telemetry.record(measurement())
        child = os.fork()
    if child == 0:
        clean = not telemetry._queue and not telemetry._counts
        telemetry.record(measurement())
        os._exit(0 if clean and telemetry.flush() and telemetry._worker is not None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    telemetry.close()


def test_exit() -> None:
    """What waits when the process ends still reaches the MeterProvider's last export."""
    source = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from kai_tracing_core import initialize_tracing
tracing = initialize_tracing(type="inmemory", telemetry=["opentelemetry"])
metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(ConsoleMetricExporter())]))
tracing.span("last words").end()
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert "last words" in done.stdout


def test_instruments_that_fail(meters: Meters, caplog: pytest.LogCaptureFixture) -> None:
    """What an application's instruments raise is logged, and the thread goes on."""
    telemetry = OpenTelemetryTelemetry(meters.provider)

    def fail(_: Measurement) -> None:
        raise ValueError("no room")

    telemetry._instruments.record = fail
    telemetry.record(measurement())
    telemetry.flush()
    telemetry.close()
    assert "measurements could not be recorded" in caplog.text


def test_a_flush_has_its_time(meters: Meters) -> None:
    """While another thread records, a flush waits no longer than it may."""
    telemetry = OpenTelemetryTelemetry(meters.provider)
    with telemetry._draining:
        assert not telemetry.flush(0.01)
    telemetry.close()
