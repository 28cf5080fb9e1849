"""What the backend counts of itself, for `/metrics` (Prometheus, text exposition format)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE", "CommitMeter", "Metrics", "TailMeter"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

CommitMeter = Callable[[int, int, float], None]
"""Told of every commit: how many spans it had, how many of them were new, how many seconds it took."""

TailMeter = Callable[[int, int, int], None]
"""Told of verdicts: how many traces are kept, how many are not, and how many spans are left out."""

_MAX_TENANTS = 100
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 10, 100, 1_000, 10_000, 100_000)

Readings = Callable[[], Iterable[tuple[Sequence[str], float]]]


class Metrics:
    """Every metric of one process, in a registry of its own.

    Labels are bounded: receivers and reasons are few, operations are no label, and tenants past the first hundred are
    together in `other`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._tenants: set[str] = set()
        self._naming = threading.Lock()
        of_receiver = ("receiver", "tenant")
        self.requests = self._counter("requests", "Requests of senders, by the status they got", *of_receiver, "status")
        self.bytes = self._counter("request_bytes", "Bytes of requests and packets, as they came", *of_receiver)
        self.received = self._counter("received_spans", "Valid spans that came", *of_receiver)
        self.rejected = self._counter("rejected_spans", "Spans that were left out", *of_receiver, "reason")
        self.stored = self._counter("stored_spans", "Spans that were committed", "tenant")
        self.duplicates = self._counter("duplicate_spans", "Spans that were there already", "tenant")
        self.udp_dropped = self._counter("udp_dropped_packets", "Packets that were not taken", "receiver", "reason")
        self.decided = self._counter("tail_traces", "Traces that tail sampling decided on", "tenant", "decision")
        self.tail_dropped = self._counter("tail_dropped_spans", "Spans that tail sampling left out", "tenant")
        self.swept_traces = self._counter("swept_traces", "Traces that retention dropped", "tenant")
        self.swept_spans = self._counter("swept_spans", "Spans that retention dropped", "tenant")
        self.swept_bytes = self._counter("swept_bytes", "Bytes of disk that retention freed", "tenant")
        self.denied = self._counter("denied_requests", "Requests that access control refused", "reason")
        self.commits = self._histogram("commit_seconds", "How long a commit takes", _SECONDS, "tenant")
        self.commit_spans = self._histogram("commit_spans", "Spans of one commit", _SIZES, "tenant")
        self.queries = self._histogram("query_seconds", "How long the API takes", _SECONDS, "route", "status")

    def tenant(self, name: str) -> str:
        """The label of a tenant."""
        with self._naming:
            if name not in self._tenants:
                if len(self._tenants) >= _MAX_TENANTS:
                    return "other"
                self._tenants.add(name)
            return name

    def commit_meter(self, tenant: str) -> CommitMeter:
        """What counts the commits of a tenant's queue."""
        label = self.tenant(tenant)
        stored, duplicates = self.stored.labels(label), self.duplicates.labels(label)
        seconds, sizes = self.commits.labels(label), self.commit_spans.labels(label)

        def count(spans: int, new: int, duration: float) -> None:
            stored.inc(new)
            duplicates.inc(spans - new)
            seconds.observe(duration)
            sizes.observe(spans)

        return count

    def tail_meter(self, tenant: str) -> TailMeter:
        """What counts the verdicts of a tenant's tail sampling."""
        label = self.tenant(tenant)
        kept, dropped = self.decided.labels(label, "kept"), self.decided.labels(label, "dropped")
        spans = self.tail_dropped.labels(label)

        def count(traces_kept: int, traces_dropped: int, spans_dropped: int) -> None:
            kept.inc(traces_kept)
            dropped.inc(traces_dropped)
            spans.inc(spans_dropped)

        return count

    def watch(self, name: str, text: str, labels: Sequence[str], read: Readings) -> None:
        """A gauge that is read when somebody asks."""
        self.registry.register(_Watched(f"kai_tracing_backend_{name}", text, labels, read))

    def expose(self) -> bytes:
        """All of it as text."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"kai_tracing_backend_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"kai_tracing_backend_{name}", text, labels, buckets=buckets, registry=self.registry)


class _Watched(Collector):
    def __init__(self, name: str, text: str, labels: Sequence[str], read: Readings) -> None:
        self._name, self._text, self._labels, self._read = name, text, labels, read

    def describe(self) -> Iterable[Metric]:
        return [GaugeMetricFamily(self._name, self._text, labels=self._labels)]

    def collect(self) -> Iterable[Metric]:
        gauge = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self._read():
            gauge.add_metric(list(labels), value)
        yield gauge
