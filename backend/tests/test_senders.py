"""Real clients of other projects and our own providers send to a running backend, through every receiver."""

from __future__ import annotations

from typing import Any

import pytest
from kai_tracing_backend.app import Backend

from kai_tracing_core.initializer import initialize_tracing


def test_an_opentelemetry_sdk_and_its_exporter(backend: Backend) -> None:
    """The SDK's own OTLP exporter delivers; parent, attributes and events arrive."""
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    endpoint = f"http://127.0.0.1:{backend.settings.otlp_http_port}/v1/traces"
    provider = TracerProvider(resource=Resource({"service.name": "sdk"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, compression=Compression.Gzip)))
    tracer = provider.get_tracer("lib", "1.2")
    with tracer.start_as_current_span("root") as root, tracer.start_as_current_span("child") as child:
        child.set_attribute("list", [1, 2])
        child.add_event("done", {"ok": True})
    provider.shutdown()
    first, second = backend.tenants.get().store.trace(f"{root.get_span_context().trace_id:032x}")
    assert (first.name, first.service, second.parent_id) == ("root", "sdk", first.span_id)
    assert second.attributes == {"list": [1, 2]}
    assert (second.events[0].name, second.events[0].attributes) == ("done", {"ok": True})
    assert (second.scope.name, second.scope.version) == ("lib", "1.2")


@pytest.mark.parametrize("kind", ["opentelemetry", "zipkin"])
def test_our_own_providers(backend: Backend, kind: str) -> None:
    """An application with kai-tracing and this provider: its trace is found, each span under its parent."""
    settings = backend.settings
    options: dict[str, Any] = {
        "opentelemetry": {"opentelemetry": {"endpoint": f"http://127.0.0.1:{settings.otlp_http_port}"}},
        "zipkin": {"zipkin": {"endpoint": f"http://127.0.0.1:{settings.zipkin_port}/api/v2/spans"}},
    }[kind]
    tracing = initialize_tracing(type=kind, service_name="app", **options)
    try:
        with tracing.span("root") as root, tracing.span("child", attributes={"n": 1}):
            pass
        tracing.flush(10)
    finally:
        tracing.shutdown()
    first, second = backend.tenants.get().store.trace(root.trace_id)
    assert (first.name, first.service, second.parent_id) == ("root", "app", first.span_id)
    assert second.attributes["n"] in (1, "1")
