"""What a span costs the thread that makes it: a root and its child, each current and with two attributes."""

from __future__ import annotations

from typing import Any

from benchmarks import peers
from benchmarks.measure import calling_thread
from benchmarks.row import Row

CHUNK = 600
"""Turns of two spans between two flushes: more than two batches, less than the queues hold."""


def _kai_body(tracing: Any) -> Any:
    def body(turns: int) -> None:
        span = tracing.span
        for _ in range(turns):
            with (
                span("GET /cart", attributes={"http.route": "/cart", "http.response.status_code": 200}),
                span("SELECT", attributes={"db.system": "postgresql", "db.rows": 7}),
            ):
                pass

    return body


def _otel_body(tracer: Any) -> Any:
    def body(turns: int) -> None:
        start = tracer.start_as_current_span
        for _ in range(turns):
            with (
                start("GET /cart", attributes={"http.route": "/cart", "http.response.status_code": 200}),
                start("SELECT", attributes={"db.system": "postgresql", "db.rows": 7}),
            ):
                pass

    return body


def _ten_attributes(span: Any) -> Any:
    def body(turns: int) -> None:
        set_attribute = span.set_attribute
        for _ in range(turns):
            set_attribute("http.request.method", "GET")
            set_attribute("url.path", "/cart/items/7")
            set_attribute("url.scheme", "https")
            set_attribute("server.address", "shop.example.org")
            set_attribute("server.port", 443)
            set_attribute("http.route", "/cart/items/{item}")
            set_attribute("http.response.status_code", 200)
            set_attribute("client.address", "192.0.2.1")
            set_attribute("user.authenticated", True)
            set_attribute("cart.value", 12.5)

    return body


def _service(**config: Any) -> Any:
    from kai_tracing_core import TracingService

    return TracingService(peers.kai_provider(**config))


def kai_recorded() -> float:
    tracing = _service()
    figure = calling_thread(_kai_body(tracing), chunk=CHUNK, spans=2, between=tracing.flush)
    assert not tracing.stats().dropped, tracing.stats()
    return figure


def kai_otel_recorded() -> float:
    from kai_tracing_opentelemetry import OpenTelemetryProvider
    from opentelemetry import trace

    from kai_tracing_core import TracingService

    tracing = TracingService(peers.discarding(OpenTelemetryProvider)())
    body = _otel_body(trace.get_tracer("bench"))
    figure = calling_thread(body, chunk=CHUNK, spans=2, between=tracing.flush)
    assert tracing.stats().exported, "OpenTelemetry's API does not reach the provider"
    return figure


def sdk_recorded() -> float:
    provider = peers.sdk_provider()
    body = _otel_body(provider.get_tracer("bench"))
    return calling_thread(body, chunk=CHUNK, spans=2, between=provider.force_flush)


def ddtrace_recorded() -> float:
    with peers.ddtrace_tracer() as tracer:

        def body(turns: int) -> None:
            trace = tracer.trace
            for _ in range(turns):
                with trace("GET /cart") as span:
                    span.set_tag("http.route", "/cart")
                    span.set_tag("http.response.status_code", 200)
                    with trace("SELECT") as child:
                        child.set_tag("db.system", "postgresql")
                        child.set_tag("db.rows", 7)

        return calling_thread(body, chunk=CHUNK, spans=2, between=tracer.flush)


def jaeger_recorded() -> float:
    with peers.jaeger_tracer() as (tracer, _):

        def body(turns: int) -> None:
            start = tracer.start_active_span
            for _ in range(turns):
                with (
                    start("GET /cart", tags={"http.route": "/cart", "http.response.status_code": 200}),
                    start("SELECT", tags={"db.system": "postgresql", "db.rows": 7}),
                ):
                    pass

        return calling_thread(body, chunk=CHUNK, spans=2)


def zipkin_recorded() -> float:
    from py_zipkin.zipkin import zipkin_client_span, zipkin_server_span

    handler = peers.zipkin_handler()

    def body(turns: int) -> None:
        for _ in range(turns):
            root = zipkin_server_span(
                service_name="bench",
                span_name="GET /cart",
                transport_handler=handler,
                sample_rate=100.0,
                binary_annotations={"http.route": "/cart", "http.response.status_code": "200"},
            )
            child = zipkin_client_span(
                service_name="bench",
                span_name="SELECT",
                binary_annotations={"db.system": "postgresql", "db.rows": "7"},
            )
            with root, child:
                pass

    return calling_thread(body, chunk=CHUNK, spans=2)


def _drop_all() -> Any:
    from kai_tracing_core.sampling.parent_based import ParentBased
    from kai_tracing_core.sampling.ratio import TraceIdRatio

    return ParentBased(TraceIdRatio(0.0))


def kai_unsampled() -> float:
    tracing = _service(sampler=_drop_all())
    figure = calling_thread(_kai_body(tracing), chunk=CHUNK, spans=2)
    assert tracing.stats().unsampled == tracing.stats().started
    return figure


def sdk_unsampled() -> float:
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    body = _otel_body(peers.sdk_provider(ParentBasedTraceIdRatio(0.0)).get_tracer("bench"))
    return calling_thread(body, chunk=CHUNK, spans=2)


def kai_disabled() -> float:
    tracing = _service()
    tracing.disable()
    return calling_thread(_kai_body(tracing), chunk=10 * CHUNK, spans=2)


def api_alone() -> float:
    from opentelemetry import trace

    return calling_thread(_otel_body(trace.get_tracer("bench")), chunk=CHUNK, spans=2)


def kai_set_attribute() -> float:
    with _service().span("GET /cart") as span:
        return calling_thread(_ten_attributes(span), chunk=CHUNK)


def sdk_set_attribute() -> float:
    with peers.sdk_provider().get_tracer("bench").start_as_current_span("GET /cart") as span:
        return calling_thread(_ten_attributes(span), chunk=CHUNK)


_SDK = "opentelemetry-sdk, batch processor"

ROWS = [
    Row(
        "recorded span, own API",
        kai_recorded,
        sdk_recorded,
        _SDK,
        budget=0.07,
        beside=(("jaeger-client", jaeger_recorded), ("py-zipkin", zipkin_recorded), ("ddtrace", ddtrace_recorded)),
    ),
    Row("recorded span, OpenTelemetry API", kai_otel_recorded, sdk_recorded, _SDK, budget=0.11),
    Row("span that is not sampled", kai_unsampled, sdk_unsampled, "opentelemetry-sdk, ratio 0", budget=0.14),
    Row("span while tracing is disabled", kai_disabled, api_alone, "opentelemetry-api alone", budget=0.06),
    Row("ten times `set_attribute`", kai_set_attribute, sdk_set_attribute, "opentelemetry-sdk", budget=0.10),
]
