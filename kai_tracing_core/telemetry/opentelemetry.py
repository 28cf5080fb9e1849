"""Measurements through the OpenTelemetry metrics API, for whichever MeterProvider is there. Needs opentelemetry-api.

Its counters add any amount, hence count with weights. Its histograms count by one, so a measurement that stands for
several is recorded that many times: rounded so that the expected count is right, and on a thread of this module's.
"""

from __future__ import annotations

import atexit
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from threading import Lock, RLock, Thread
from time import monotonic
from typing import ClassVar
from weakref import WeakKeyDictionary

from opentelemetry import metrics, trace
from opentelemetry.context import Context

from kai_tracing_core.processing import lifecycle
from kai_tracing_core.processing.processor import Stats
from kai_tracing_core.telemetry.contract import Measurement, Operation, TelemetryService
from kai_tracing_core.telemetry.histogram import DURATION_BOUNDS
from kai_tracing_core.telemetry.self_metrics import SELF_METRICS, SelfMetric

__all__ = ["OpenTelemetryTelemetry"]

logger = logging.getLogger(__name__)

_NAME = "kai_tracing"
_QUEUE = 10_000
_MOST = 1000
_DELAY = 0.2
_DURATION = "traces.span.duration"


class OpenTelemetryTelemetry(TelemetryService):
    """Records into the global MeterProvider, which may be set later, or into the one that is given.

    Histograms `traces.span.duration`, `http.client.request.duration` and `http.server.request.duration` in seconds,
    counters `traces.span.calls` and `traces.span.errors`, and tracing's own counts, `kai_tracing.*`. At most `queue`
    measurements wait for the thread; further ones are counted as calls and errors, but not in the histograms, and
    `kai_tracing.telemetry.lost` says how many. One is recorded `max_repeat` times at most.
    """

    def __init__(
        self,
        meter_provider: metrics.MeterProvider | None = None,
        *,
        queue: int = _QUEUE,
        max_repeat: int = _MOST,
    ) -> None:
        self._instruments = _Instruments.of(meter_provider)
        self._capacity = queue
        self._max_repeat = max_repeat
        self._capped = self._closed = False
        self._stats: Callable[[], Stats] = Stats
        self._reset()
        self._instruments.sinks.append(self)
        lifecycle.register_fork(self)

    def _reset(self) -> None:
        self.lost = 0
        self._queue: deque[Measurement] = deque()
        self._counts: dict[Operation, list[float]] = {}
        self._counting = RLock()
        self._draining = Lock()
        self._starting = Lock()
        self._worker: Thread | None = None
        # A lock as a bell: unlike Event.set, releasing it is safe in a signal handler and in __del__.
        self._bell = Lock()
        self._bell.acquire()
        self._sleeps = True

    def after_fork(self) -> None:
        """In a forked child: nothing waits, and there is no thread yet."""
        self._reset()

    # -- on the application's threads --------------------------------------------------------------------------------

    def record(self, measurement: Measurement) -> None:
        """Count the operation, and queue what the histograms want."""
        if self._closed:
            return
        weight = measurement.weight
        with self._counting:
            counts = self._counts.setdefault(measurement.operation, [0.0, 0.0])
            counts[0] += weight
            counts[1] += weight if measurement.error else 0.0
        if len(self._queue) < self._capacity:
            self._queue.append(measurement)
        else:
            self._lose()
        if self._sleeps:
            self._wake()

    def _lose(self) -> None:
        if not self.lost:
            logger.warning("more than %d measurements wait; further ones are missing in histograms", self._capacity)
        self.lost += 1

    def _wake(self) -> None:
        self._sleeps = False
        if self._worker is None:
            self._start_worker()
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it is ringing already

    def _start_worker(self) -> None:
        if not self._starting.acquire(blocking=False):
            return  # pragma: no cover - another thread was quicker
        try:
            if self._worker is None:
                # Now rather than earlier, to run before the MeterProvider shuts itself down at exit.
                atexit.register(self.flush)
                worker = Thread(target=self._run, name="kai-tracing-telemetry", daemon=True)
                worker.start()
                self._worker = worker
        except RuntimeError as error:  # pragma: no cover - no thread can be started while the interpreter ends
            logger.debug("no thread for metrics: %s", error)
        finally:
            self._starting.release()

    def observe_stats(self, stats: Callable[[], Stats]) -> None:
        """Report them as observable instruments."""
        self._stats = stats

    @property
    def stats(self) -> Stats:
        """What tracing says of itself now."""
        return self._stats()

    def flush(self, timeout: float = 5.0) -> bool:
        """Record what waits, on this thread."""
        return self._drain(monotonic() + timeout)

    def close(self) -> None:
        """Stop recording; what waits is dropped."""
        self._closed = True
        atexit.unregister(self.flush)
        if self in self._instruments.sinks:
            self._instruments.sinks.remove(self)
        self._queue.clear()
        worker = self._worker
        if worker is not None:
            self._wake()
            worker.join(5.0)

    # -- on the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed:
            self._sleeps = True
            if not self._queue:  # what came before the line above has not rung
                self._bell.acquire()
            self._sleeps = False
            if not self._closed:
                self._bell.acquire(timeout=_DELAY)  # only `close` rings now
                self._drain(monotonic() + 60.0)

    def _drain(self, deadline: float) -> bool:
        if not self._draining.acquire(timeout=max(0.0, deadline - monotonic())):
            return False
        try:
            with self._counting:
                counts, self._counts = self._counts, {}
            for operation, (calls, errors) in counts.items():
                self._instruments.count(operation, calls, errors)
            while self._queue and monotonic() < deadline:
                self._record(self._queue.popleft())
        except IndexError:  # pragma: no cover - another thread was quicker
            pass  # somebody cleared the queue
        except Exception:
            logger.exception("measurements could not be recorded")
        finally:
            self._draining.release()
        return not self._queue

    def _record(self, measurement: Measurement) -> None:
        times = self._times(measurement.weight)
        for _ in range(times):
            self._instruments.record(measurement)

    def _times(self, weight: float) -> int:
        """The weight as a whole number that is right on average: 2.3 is 3 in three cases out of ten, else 2."""
        if weight > self._max_repeat:
            if not self._capped:
                logger.warning("a span stands for %g; histograms count it %d times only", weight, self._max_repeat)
            self._capped = True
            return self._max_repeat
        return int(weight) + (random.random() < weight % 1)


class _Instruments:
    """The instruments in one MeterProvider, which cannot be taken out of it again: made once, used by every sink."""

    _made: ClassVar[WeakKeyDictionary[metrics.MeterProvider, _Instruments]] = WeakKeyDictionary()
    _global: ClassVar[_Instruments | None] = None

    def __init__(self, meter: metrics.Meter) -> None:
        self.sinks: list[OpenTelemetryTelemetry] = []
        self._durations = {
            name: meter.create_histogram(
                name, unit="s", description=text, explicit_bucket_boundaries_advisory=DURATION_BOUNDS
            )
            for name, text in (
                (_DURATION, "Duration of operations."),
                ("http.client.request.duration", "Duration of HTTP client requests."),
                ("http.server.request.duration", "Duration of HTTP server requests."),
            )
        }
        self._calls = meter.create_counter("traces.span.calls", "{call}", "Operations that ended.")
        self._errors = meter.create_counter("traces.span.errors", "{call}", "Operations that failed.")
        for metric in SELF_METRICS:
            create = meter.create_observable_gauge if metric.is_gauge else meter.create_observable_counter
            create(f"{_NAME}.{metric.name}", [self._observer(metric)], metric.unit, metric.description)
        meter.create_observable_counter(
            f"{_NAME}.spans.dropped", [self._dropped], "{span}", "Spans that were lost, by reason."
        )
        meter.create_observable_counter(
            f"{_NAME}.telemetry.lost", [self._lost], "{measurement}", "Measurements missing in histograms."
        )

    @classmethod
    def of(cls, provider: metrics.MeterProvider | None) -> _Instruments:
        """Those of `provider`, or of the global one."""
        if provider is None:
            if cls._global is None:
                cls._global = cls(metrics.get_meter(_NAME))
            return cls._global
        if provider not in cls._made:
            cls._made[provider] = cls(provider.get_meter(_NAME))
        return cls._made[provider]

    def count(self, operation: Operation, calls: float, errors: float) -> None:
        """So many calls of the operation, and failed ones among them."""
        attributes = _attributes(operation)
        self._calls.add(calls, attributes)
        if errors:
            self._errors.add(errors, attributes)

    def record(self, measurement: Measurement) -> None:
        """One operation's duration; its span is the exemplar."""
        context = _context(measurement)
        self._durations[_DURATION].record(measurement.seconds, _attributes(measurement.operation), context)
        if measurement.http is not None:
            histogram = self._durations[measurement.http.metric]
            histogram.record(measurement.seconds, dict(measurement.http.attributes), context)

    def _observer(self, metric: SelfMetric) -> Callable[[metrics.CallbackOptions], Iterable[metrics.Observation]]:
        def observe(_options: metrics.CallbackOptions) -> Iterator[metrics.Observation]:
            for sink in self.sinks[-1:]:
                yield metrics.Observation(metric.read(sink.stats))

        return observe

    def _dropped(self, _options: metrics.CallbackOptions) -> Iterator[metrics.Observation]:
        for sink in self.sinks[-1:]:
            for reason, count in sink.stats.dropped.items():
                yield metrics.Observation(count, {"reason": reason})

    def _lost(self, _options: metrics.CallbackOptions) -> Iterator[metrics.Observation]:
        for sink in self.sinks[-1:]:
            yield metrics.Observation(sink.lost)


def _attributes(operation: Operation) -> dict[str, str]:
    return {
        "service.name": operation.service,
        "span.name": operation.name,
        "span.kind": operation.kind,
        "status.class": operation.status_class,
    }


def _context(measurement: Measurement) -> Context:
    context = trace.SpanContext(
        measurement.trace_id, measurement.span_id, is_remote=False, trace_flags=trace.TraceFlags(1)
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(context), Context())
