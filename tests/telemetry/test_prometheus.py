"""What Prometheus reads from a real metrics endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.request import Request, urlopen

import pytest
from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from kai_tracing_core import SpanKind
from kai_tracing_core.telemetry.prometheus import PrometheusTelemetry
from kai_tracing_core.testing.ids import FixedClock
from tests.telemetry.conftest import TRACES, EvenIds, Measured, one_in_ten

_LABELS = {"service": "shop", "operation": "checkout", "kind": "internal", "status_class": "ok"}
_FORMATS = {
    "text": ("text/plain", parse_text),
    "openmetrics": ("application/openmetrics-text; version=1.0.0", parse_openmetrics),
}


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of the test's own."""
    return CollectorRegistry()


@pytest.fixture
def url(registry: CollectorRegistry) -> Iterator[str]:
    """The address of a metrics endpoint."""
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()
    thread.join(10)


def scrape(url: str, form: str = "text") -> dict[str, Metric]:
    """The metric families, as a Prometheus server would read them; the text's counters without their `_total`."""
    accept, parse = _FORMATS[form]
    with urlopen(Request(url, headers={"Accept": accept}), timeout=10) as response:
        assert response.headers["Content-Type"].startswith(accept.split(";")[0])
        families = list(parse(response.read().decode()))
    assert len({family.name for family in families}) == len(families)
    return {family.name.removesuffix("_total"): family for family in families}


def samples(family: Metric) -> dict[tuple[str, str], float]:
    """By name and bucket the values; there may be one of each."""
    found = {}
    for sample in family.samples:
        key = sample.name, sample.labels.get("le", "")
        assert key not in found
        found[key] = sample.value
    return found


@pytest.mark.parametrize("form", sorted(_FORMATS))
def test_weighted(measured: Measured, registry: CollectorRegistry, url: str, clock: FixedClock, form: str) -> None:
    """Calls and durations of sampled spans are those of all operations, in both formats."""
    service = measured(PrometheusTelemetry(registry), sampler=one_in_ten(), ids=EvenIds())
    for _ in range(TRACES):
        with service.span("checkout"):
            clock.advance(0.03)
    families = scrape(url, form)
    assert families["traces_span_calls"].samples[0].labels == _LABELS
    assert families["traces_span_calls"].samples[0].value == pytest.approx(TRACES, rel=0.02)
    assert families["traces_span_errors"].samples[0].value == 0
    found = samples(families["traces_span_duration_seconds"])
    calls = found["traces_span_duration_seconds_count", ""]
    assert calls == pytest.approx(TRACES, rel=0.02)
    assert found["traces_span_duration_seconds_bucket", "0.025"] == 0
    assert found["traces_span_duration_seconds_bucket", "0.05"] == calls
    assert found["traces_span_duration_seconds_bucket", "+Inf"] == calls
    assert found["traces_span_duration_seconds_sum", ""] == pytest.approx(
        calls * 0.03, rel=0.001
    )  # buckets are rounded


def test_exemplars(measured: Measured, registry: CollectorRegistry, url: str, clock: FixedClock) -> None:
    """In OpenMetrics a bucket names a span that fell into it."""
    service = measured(PrometheusTelemetry(registry))
    with service.span("checkout") as span:
        clock.advance(0.03)
    (bucket,) = (
        sample for sample in scrape(url, "openmetrics")["traces_span_duration_seconds"].samples if sample.exemplar
    )
    assert bucket.labels["le"] == "0.05"
    assert bucket.exemplar is not None
    assert bucket.exemplar.labels == {"trace_id": span.trace_id, "span_id": span.span_id}
    assert bucket.exemplar.value == 0.03
    assert bucket.exemplar.timestamp is not None
    assert float(bucket.exemplar.timestamp) == pytest.approx(clock() / 1e9)


def test_http(measured: Measured, registry: CollectorRegistry, url: str) -> None:
    """HTTP spans are there under the names of the semantic conventions."""
    service = measured(PrometheusTelemetry(registry))
    attributes = {"http.request.method": "GET", "http.route": "/", "url.scheme": "http"}
    service.span("GET /", kind=SpanKind.SERVER, attributes=attributes).end()
    sample = scrape(url)["http_server_request_duration_seconds"].samples[0]
    assert sample.labels["http_request_method"] == "GET"
    assert sample.labels["http_route"] == "/"
    assert sample.labels["http_response_status_code"] == ""


def test_self_metrics(measured: Measured, registry: CollectorRegistry, url: str) -> None:
    """Tracing's own counts are there, the lost spans by reason; they are gone after the shutdown."""
    service = measured(PrometheusTelemetry(registry), sampler=one_in_ten(), ids=EvenIds())
    service.provider.store._closed = True  # so that spans are lost
    for _ in range(TRACES):
        service.span("work").end()
    families = scrape(url)
    stats = service.stats()
    assert families["kai_tracing_spans_started"].samples[0].value == TRACES
    assert families["kai_tracing_spans_unsampled"].samples[0].value == stats.unsampled
    assert families["kai_tracing_spans_ended"].samples[0].value == stats.ended
    assert families["kai_tracing_queue_size"].type == "gauge"
    assert "kai_tracing_export_duration_seconds" in families
    (dropped,) = families["kai_tracing_spans_dropped"].samples
    assert (dropped.labels, dropped.value) == ({"reason": "shut_down"}, stats.ended)
    service.shutdown()
    assert scrape(url) == {}


def test_odd_names(measured: Measured, registry: CollectorRegistry, url: str) -> None:
    """Names with quotes, newlines and other alphabets arrive as they are."""
    service = measured(PrometheusTelemetry(registry))
    name = 'a "quoted"\nname \\ ✓'
    service.span(name).end()
    for form in _FORMATS:
        assert scrape(url, form)["traces_span_calls"].samples[0].labels["operation"] == name
