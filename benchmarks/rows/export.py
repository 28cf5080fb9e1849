"""What a span costs the whole process, from its start until it is with the collector: traces of five spans."""

from __future__ import annotations

from collections.abc import Callable
from time import sleep
from typing import Any

from benchmarks import peers
from benchmarks.measure import whole_process
from benchmarks.row import Row
from benchmarks.sinks import http_sink, received

TRACES = 300
"""Traces of five spans between two flushes: three batches, less than the queues hold."""
CHILDREN = 4
SPANS = 1 + CHILDREN


def _kai_body(tracing: Any) -> Any:
    def body(turns: int) -> None:
        span = tracing.span
        for turn in range(turns):
            with span("GET /cart", attributes={"http.route": "/cart", "http.response.status_code": 200}):
                for row in range(CHILDREN):
                    with span("SELECT", attributes={"db.system": "postgresql", "db.rows": turn + row}):
                        pass
        assert tracing.flush(30)

    return body


def _otel_body(tracer: Any, flush: Callable[[], object]) -> Any:
    def body(turns: int) -> None:
        start = tracer.start_as_current_span
        for turn in range(turns):
            with start("GET /cart", attributes={"http.route": "/cart", "http.response.status_code": 200}):
                for row in range(CHILDREN):
                    with start("SELECT", attributes={"db.system": "postgresql", "db.rows": turn + row}):
                        pass
        assert flush()

    return body


def _sent(body: Any, url: str, *, at_least: int = 40) -> float:
    """Measure `body`, and see to it that a believable number of bytes arrived for every span."""
    figure = whole_process(body, chunk=TRACES, spans=SPANS)
    before = received(url)["bytes"]
    body(TRACES)
    arrived = (received(url)["bytes"] - before) / (TRACES * SPANS)
    assert arrived >= at_least, f"only {arrived} bytes a span arrived"
    return figure


def _kai(provider: Any, url: str) -> float:
    from kai_tracing_core import TracingService

    tracing = TracingService(provider)
    figure = _sent(_kai_body(tracing), url)
    assert not tracing.stats().dropped, tracing.stats()
    return figure


def kai_otlp() -> float:
    from kai_tracing_opentelemetry import OpenTelemetryProvider, OpenTelemetrySettings

    with http_sink() as url:
        return _kai(OpenTelemetryProvider(settings=OpenTelemetrySettings(endpoint=url + "/v1/traces")), url)


def kai_otel_otlp() -> float:
    from kai_tracing_opentelemetry import OpenTelemetryProvider, OpenTelemetrySettings
    from opentelemetry import trace

    from kai_tracing_core import TracingService

    with http_sink() as url:
        provider = OpenTelemetryProvider(settings=OpenTelemetrySettings(endpoint=url + "/v1/traces"))
        tracing = TracingService(provider)
        figure = _sent(_otel_body(trace.get_tracer("bench"), tracing.flush), url)
        assert not tracing.stats().dropped, tracing.stats()
        return figure


def sdk_otlp() -> float:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    with http_sink() as url:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url + "/v1/traces")))
        return _sent(_otel_body(provider.get_tracer("bench"), provider.force_flush), url)


def ddtrace_export() -> float:
    with peers.ddtrace_tracer() as tracer:

        def body(turns: int) -> None:
            trace = tracer.trace
            for turn in range(turns):
                with trace("GET /cart") as span:
                    span.set_tag("http.route", "/cart")
                    span.set_tag("http.response.status_code", 200)
                    for row in range(CHILDREN):
                        with trace("SELECT") as child:
                            child.set_tag("db.system", "postgresql")
                            child.set_tag("db.rows", turn + row)
            tracer.flush()

        return whole_process(body, chunk=TRACES, spans=SPANS)


def kai_zipkin() -> float:
    from kai_tracing_zipkin.provider import ZipkinProvider
    from kai_tracing_zipkin.settings import ZipkinSettings

    with http_sink() as url:
        return _kai(ZipkinProvider(ZipkinSettings(endpoint=url + "/api/v2/spans")), url)


def py_zipkin() -> float:
    from py_zipkin import Encoding
    from py_zipkin.transport import SimpleHTTPTransport
    from py_zipkin.zipkin import zipkin_client_span, zipkin_server_span

    with http_sink() as url:
        host, _, port = url.removeprefix("http://").partition(":")
        handler = SimpleHTTPTransport(host, int(port))

        def body(turns: int) -> None:
            for turn in range(turns):
                with zipkin_server_span(
                    service_name="bench",
                    span_name="GET /cart",
                    transport_handler=handler,
                    sample_rate=100.0,
                    encoding=Encoding.V2_JSON,
                    binary_annotations={"http.route": "/cart", "http.response.status_code": "200"},
                ):
                    for row in range(CHILDREN):
                        with zipkin_client_span(
                            service_name="bench",
                            span_name="SELECT",
                            binary_annotations={"db.system": "postgresql", "db.rows": str(turn + row)},
                        ):
                            pass

        return _sent(body, url)


def kai_jaeger() -> float:
    from kai_tracing_jaeger.provider import JaegerProvider
    from kai_tracing_jaeger.settings import JaegerSettings

    with http_sink() as url:
        return _kai(JaegerProvider(JaegerSettings(endpoint=url + "/v1/traces")), url)


def kai_jaeger_agent() -> float:
    from kai_tracing_jaeger.provider import JaegerProvider
    from kai_tracing_jaeger.settings import JaegerSettings, Protocol

    from benchmarks.sinks import udp_sink

    with udp_sink() as (url, port):
        settings = JaegerSettings(protocol=Protocol.AGENT, agent_host="127.0.0.1", agent_port=port)
        return _kai(JaegerProvider(settings), url)


def jaeger_client() -> float:
    with peers.jaeger_tracer() as (tracer, url):

        def body(turns: int) -> None:
            start = tracer.start_active_span
            for turn in range(turns):
                with start("GET /cart", tags={"http.route": "/cart", "http.response.status_code": 200}):
                    for row in range(CHILDREN):
                        with start("SELECT", tags={"db.system": "postgresql", "db.rows": turn + row}):
                            pass
            while tracer.reporter.queue.qsize():  # its reporter has nothing else to wait for
                sleep(0.005)

        return _sent(body, url)


_OTLP = "opentelemetry-sdk with its OTLP/HTTP exporter"

ROWS = [
    Row(
        "exported span, OTLP/HTTP, own API",
        kai_otlp,
        sdk_otlp,
        _OTLP,
        budget=0.12,
        unit="µs",
        counted=False,
        beside=(("ddtrace", ddtrace_export),),
    ),
    Row(
        "exported span, OTLP/HTTP, OpenTelemetry API",
        kai_otel_otlp,
        sdk_otlp,
        _OTLP,
        budget=0.12,
        unit="µs",
        counted=False,
    ),
    Row("exported span, Zipkin", kai_zipkin, py_zipkin, "py-zipkin used directly", 0.10, unit="µs", counted=False),
    Row(
        "exported span, Jaeger",
        kai_jaeger,
        jaeger_client,
        "jaeger-client used directly",
        0.25,
        unit="µs",
        counted=False,
    ),
    Row(
        "exported span, Jaeger's agent over UDP",
        kai_jaeger_agent,
        jaeger_client,
        "jaeger-client used directly",
        0.25,
        unit="µs",
        counted=False,
    ),
]
