"""What it costs to start: importing and initialising, in a fresh interpreter."""

from __future__ import annotations

from benchmarks.measure import start_up
from benchmarks.row import Row


def kai_import(*, cached: bool = True) -> float:
    return start_up(
        "from kai_tracing_core import tracing\n"
        "with tracing.span('first'): pass\n"
        "assert tracing.provider.name == 'inmemory', tracing.provider.name",
        cached=cached,
        TRACING_TYPE="inmemory",
    )


def kai_import_uncached() -> float:
    return kai_import(cached=False)


def sdk_import(*, cached: bool = True) -> float:
    return start_up(
        "import opentelemetry.sdk.trace\n"
        "from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter",
        cached=cached,
    )


def sdk_import_uncached() -> float:
    return sdk_import(cached=False)


def ddtrace_import() -> float:
    return start_up("import ddtrace.trace", DD_TRACE_STARTUP_LOGS="false", DD_INSTRUMENTATION_TELEMETRY_ENABLED="false")


def jaeger_import() -> float:
    return start_up("import jaeger_client")


def zipkin_import() -> float:
    return start_up("import py_zipkin.zipkin, py_zipkin.transport")


ROWS = [
    Row(
        "import and initialise, in memory",
        kai_import,
        sdk_import,
        "importing opentelemetry-sdk and its OTLP exporter",
        budget=0.35,
        unit="ms",
        counted=False,
        beside=(("py-zipkin", zipkin_import), ("jaeger-client", jaeger_import), ("ddtrace", ddtrace_import)),
    ),
    Row(
        "the same without cached bytecode, as in many container images",
        kai_import_uncached,
        sdk_import_uncached,
        "importing opentelemetry-sdk and its OTLP exporter",
        unit="ms",
        counted=False,
    ),
]
