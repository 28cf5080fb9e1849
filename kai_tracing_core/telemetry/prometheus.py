"""Measurements as Prometheus metrics, with exemplars that carry the trace id. Needs prometheus-client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector, CollectorRegistry
from prometheus_client.samples import Exemplar as PrometheusExemplar

from kai_tracing_core.processing.processor import Stats
from kai_tracing_core.telemetry.histogram import DURATION_BOUNDS
from kai_tracing_core.telemetry.inmemory import InMemoryTelemetry

__all__ = ["PrometheusTelemetry"]

_LABELS = ("service", "operation", "kind", "status_class")


class PrometheusTelemetry(InMemoryTelemetry, Collector):
    """Offers, to whatever exposes the registry, a duration histogram, calls, errors, and tracing's own counts.

    `traces_span_duration_seconds`, `traces_span_calls_total`, `traces_span_errors_total`, and `kai_tracing_*`. A
    collector of its own rather than the library's instruments, which cannot count with weights. Exemplars are exposed
    in the OpenMetrics format only.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        super().__init__()
        self._registry = registry if registry is not None else REGISTRY
        self._registry.register(self)

    def describe(self) -> list[Metric]:
        """Nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        duration = HistogramMetricFamily("traces_span_duration_seconds", "Duration of operations.", labels=_LABELS)
        calls = CounterMetricFamily("traces_span_calls", "Operations that ended.", labels=_LABELS)
        errors = CounterMetricFamily("traces_span_errors", "Operations that failed.", labels=_LABELS)
        bounds = [*map(str, DURATION_BOUNDS), "+Inf"]
        for operation, snapshot in self.durations().items():
            labels = operation[:4]
            cumulated = accumulate(snapshot.buckets)
            buckets: list[Any] = [
                (bound, count, exemplar and PrometheusExemplar({"trace_id": exemplar[1].trace_id}, exemplar[0]))
                for bound, count, exemplar in zip(bounds, cumulated, snapshot.exemplars, strict=True)
            ]
            duration.add_metric(labels, buckets, snapshot.total)
            calls.add_metric(labels, snapshot.weight)
            if operation.error:
                errors.add_metric(labels, snapshot.weight)
        yield from (duration, calls, errors)
        yield from _own_metrics(self.stats)

    def close(self) -> None:
        """Leave the registry."""
        try:
            self._registry.unregister(self)
        except KeyError:
            pass  # it left before


def _own_metrics(stats: Stats) -> Iterator[Metric]:
    counters: tuple[tuple[str, str, Callable[[Stats], float]], ...] = (
        ("started", "Spans that were started.", lambda stats: stats.started),
        ("unsampled", "Spans that the sampler left out.", lambda stats: stats.unsampled),
        ("ended", "Recorded spans that ended.", lambda stats: stats.ended),
        ("exported", "Spans that the backend took.", lambda stats: stats.exported),
        ("spooled", "Spans that went to the disk spool.", lambda stats: stats.spooled),
        ("export_retries", "Requests that were repeated.", lambda stats: stats.retries),
        ("export_seconds", "Time spent exporting.", lambda stats: stats.export_seconds),
    )
    for name, text, read in counters:
        yield CounterMetricFamily(f"kai_tracing_{name}", text, value=read(stats))
    yield GaugeMetricFamily("kai_tracing_queue_size", "Spans that wait to be exported.", value=stats.queued)
    dropped = CounterMetricFamily("kai_tracing_dropped", "Spans that were lost, by reason.", labels=("reason",))
    for reason, count in stats.dropped.items():
        dropped.add_metric((reason,), count)
    yield dropped
