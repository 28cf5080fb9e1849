"""Measurements as Prometheus metrics, with exemplars that carry the trace id. Needs prometheus-client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector, CollectorRegistry
from prometheus_client.samples import Exemplar

from kai_tracing_core.telemetry.contract import OVERFLOW, HttpRequest, Measurement
from kai_tracing_core.telemetry.histogram import DURATION_BOUNDS, Snapshot
from kai_tracing_core.telemetry.inmemory import InMemoryTelemetry
from kai_tracing_core.telemetry.metrics import CLIENT_ATTRIBUTES, SERVER_ATTRIBUTES
from kai_tracing_core.telemetry.self_metrics import SELF_METRICS

__all__ = ["PrometheusTelemetry"]

_LABELS = ("service", "operation", "kind", "status_class")
_BOUNDS = (*map(str, DURATION_BOUNDS), "+Inf")
_OVERFLOW = OVERFLOW[0][0]


class PrometheusTelemetry(InMemoryTelemetry, Collector):
    """Offers durations, calls and errors, and tracing's own counts, to whatever exposes the registry.

    `traces_span_duration_seconds`, `traces_span_calls_total`, `traces_span_errors_total`,
    `http_client_request_duration_seconds`, `http_server_request_duration_seconds`, and `kai_tracing_*`. A collector
    of its own rather than the library's instruments, which cannot count with weights. Exemplars are exposed in the
    OpenMetrics format only.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """`registry` None is the library's default one."""
        super().__init__()
        self._registry = registry if registry is not None else REGISTRY
        self._registry.register(self)

    def describe(self) -> list[Metric]:
        """Nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        yield from self._operation_metrics()
        yield from self._request_metrics()
        yield from self._self_metrics()

    def _operation_metrics(self) -> Iterator[Metric]:
        duration = HistogramMetricFamily("traces_span_duration_seconds", "Duration of operations.", labels=_LABELS)
        calls = CounterMetricFamily("traces_span_calls", "Operations that ended.", labels=_LABELS)
        errors = CounterMetricFamily("traces_span_errors", "Operations that failed.", labels=_LABELS)
        for operation, snapshot in self.durations().items():
            _add(duration, operation, snapshot)
            calls.add_metric(operation, snapshot.weight)
            errors.add_metric(operation, snapshot.errors)
        yield from (duration, calls, errors)

    def _request_metrics(self) -> Iterator[Metric]:
        durations = self.http_durations()
        for is_client, standard in ((True, CLIENT_ATTRIBUTES), (False, SERVER_ATTRIBUTES)):
            names = (*standard, _OVERFLOW)
            family = HistogramMetricFamily(
                HttpRequest(is_client, ()).metric.replace(".", "_") + "_seconds",
                f"Duration of HTTP {'client' if is_client else 'server'} requests.",
                labels=[name.replace(".", "_") for name in names],
            )
            for request, snapshot in durations.items():
                if request.is_client == is_client:
                    values = dict(request.attributes)
                    _add(family, [_label(values.get(name, "")) for name in names], snapshot)
            yield family

    def _self_metrics(self) -> Iterator[Metric]:
        stats = self.stats
        for metric in SELF_METRICS:
            name = f"kai_tracing_{metric.name.replace('.', '_')}{'_seconds' if metric.unit == 's' else ''}"
            if metric.is_gauge:
                yield GaugeMetricFamily(name, metric.description, value=metric.read(stats))
            else:
                yield CounterMetricFamily(name, metric.description, value=metric.read(stats))
        dropped = CounterMetricFamily(
            "kai_tracing_spans_dropped", "Spans that were lost, by reason.", labels=["reason"]
        )
        for reason, count in stats.dropped.items():
            dropped.add_metric([reason], count)
        yield dropped

    def close(self) -> None:
        """Leave the registry."""
        try:
            self._registry.unregister(self)
        except KeyError:
            pass  # it left before


def _exemplar(measurement: Measurement) -> Exemplar:
    ids = {"trace_id": f"{measurement.trace_id:032x}", "span_id": f"{measurement.span_id:016x}"}
    return Exemplar(ids, measurement.seconds, measurement.time / 1e9)


def _label(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _add(family: HistogramMetricFamily, labels: Sequence[str], snapshot: Snapshot) -> None:
    # OpenMetrics wants whole numbers ("Histogram"); rounded sums grow as steadily as the sums themselves.
    buckets: list[Any] = [
        (bound, round(count), at and _exemplar(at))
        for bound, count, at in zip(_BOUNDS, accumulate(snapshot.buckets), snapshot.exemplars, strict=True)
    ]
    family.add_metric(labels, buckets, snapshot.total)
