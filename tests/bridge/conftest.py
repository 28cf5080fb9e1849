"""The same program under a stock SDK and under this project, and the spans of both in one form."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from kai_tracing_inmemory import InMemoryProvider
from kai_tracing_opentelemetry import OpenTelemetryProvider
from kai_tracing_opentelemetry.sdk import readable
from kai_tracing_opentelemetry.tracer import TracerProvider
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

Program = Callable[[trace.TracerProvider], Any]


def described(spans: Sequence[ReadableSpan]) -> list[dict[str, Any]]:
    """What can be compared of two runs: everything but ids, times and stack traces."""
    names = {span.context.span_id: span.name for span in spans}

    def event(found: Any) -> Any:
        attributes = dict(found.attributes or {})
        attributes.pop("exception.stacktrace", None)
        return found.name, attributes, found.dropped_attributes

    return sorted(
        (
            {
                "name": span.name,
                "kind": span.kind,
                "parent": names.get(span.parent.span_id, "another process") if span.parent else None,
                "remote": bool(span.parent and span.parent.is_remote),
                "attributes": dict(span.attributes or {}),
                "events": [event(found) for found in span.events],
                "links": [
                    (names.get(link.context.span_id), dict(link.attributes or {}), link.dropped_attributes)
                    for link in span.links
                ],
                "status": (span.status.status_code, span.status.description),
                "scope": (span.instrumentation_scope.name, span.instrumentation_scope.version),
                "schema": span.instrumentation_scope.schema_url,
                "state": span.context.trace_state.to_header(),
                "sampled": span.context.trace_flags.sampled,
                "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
                "ended": span.end_time is not None and span.end_time >= span.start_time,
            }
            for span in spans
        ),
        key=lambda found: (found["name"], str(found["attributes"])),
    )


@pytest.fixture
def both() -> Iterator[Callable[[Program], tuple[list[dict[str, Any]], list[dict[str, Any]]]]]:
    """Runs a program twice: the spans of the stock SDK, and those of the in-memory provider behind the bridge."""
    made: list[Any] = []

    def run(program: Program) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        kept = InMemorySpanExporter()
        sdk = SdkTracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
        sdk.add_span_processor(SimpleSpanProcessor(kept))
        made.append(sdk)
        program(sdk)
        provider = InMemoryProvider()
        made.append(provider)
        program(TracerProvider(provider))
        provider.flush(5)
        return described(kept.get_finished_spans()), described([readable(span) for span in provider.spans])

    yield run
    for provider in made:
        provider.shutdown()


class Site(ThreadingHTTPServer):
    """A site with a page, a missing page and a failing one; keeps the headers of the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Pages)
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self.server_port}"


class _Pages(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        body = b"page"
        self.send_response({"/missing": 404, "/failing": 500}.get(self.path, 200))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    """A running `Site`."""
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def kept() -> InMemorySpanExporter:
    """Where the spans end."""
    return InMemorySpanExporter()


@pytest.fixture
def provider(kept: InMemorySpanExporter) -> Iterator[OpenTelemetryProvider]:
    """A provider whose spans go to `kept` at once."""
    made = OpenTelemetryProvider(processors=[SimpleSpanProcessor(kept)], resource=Resource({"a": 1}), set_global=False)
    yield made
    made.shutdown()


@pytest.fixture
def tracer(provider: OpenTelemetryProvider) -> trace.Tracer:
    """A tracer of the provider."""
    return provider.tracer_provider.get_tracer("library", "1.0")


def only(kept: InMemorySpanExporter) -> ReadableSpan:
    """The one span that ended."""
    (span,) = kept.get_finished_spans()
    return span


def made_by(kept: InMemorySpanExporter, **options: Any) -> trace.Tracer:
    """A tracer of a provider with other options."""
    provider = OpenTelemetryProvider(processors=[SimpleSpanProcessor(kept)], set_global=False, **options)
    return provider.tracer_provider.get_tracer("library")
