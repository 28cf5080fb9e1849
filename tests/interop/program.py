"""A traced program of four services, as a user would write it: `python program.py SERVICE RECORD [HEADERS]`.

Every service is a process of its own; the next one gets the headers that `inject_context` wrote. Nothing here knows
the provider, which `TRACING_TYPE` chooses. Each process adds its spans, as its own API shows them, to the file
RECORD, a JSON object per line: what the server must be able to tell afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kai_tracing_core import Link, Span, SpanKind, SpanStatusCode, TraceContext, tracing

SERVICE, RECORD = sys.argv[1], Path(sys.argv[2])
HEADERS: dict[str, str] = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}


def gateway() -> None:
    """Attributes of every type, events, a call to another service, and a root that is OK."""
    attributes: dict[str, Any] = {
        "http.request.method": "POST",
        "text": "Grüße aus Köln 🍵",
        "text.empty": "",
        "text.quoted": 'a "quoted", <marked> & \\escaped\\ \n second line',
        "yes": True,
        "no": False,
        "integer": -42,
        "integer.large": 2**53 + 1,
        "integer.largest": 2**63 - 1,
        "float": 0.1,
        "float.whole": 3.0,
        "list.text": ["a", "b,c"],
        "list.integer": [1, 2, 3],
        "list.float": [0.5, 1.5],
        "list.boolean": [True, False],
        "list.empty": [],
    }
    with tracing.span("POST /orders/{id}", kind=SpanKind.SERVER, attributes=attributes) as root:
        root.add_event("accepted")
        root.add_event("queued", {"queue": "orders", "depth": 3, "urgent": True, "share": 0.25, "tags": ["x", "y"]})
        time.sleep(0.002)
        with tracing.span("POST", kind=SpanKind.CLIENT, attributes={"peer.service": "orders"}) as client:
            call("orders", client)
        with tracing.span("render answer") as render:
            pass
        root.set_status(SpanStatusCode.OK)
    record(client, render, root)


def orders() -> None:
    """A remote parent, exceptions, a call that fails, and a message that is sent."""
    with tracing.span("POST /orders", kind=SpanKind.SERVER, parent=remote()) as server:
        try:
            with tracing.span("check stock", attributes={"product": "lamp"}) as check:
                {"chair": 3}["lamp"]
        except KeyError:
            server.add_event("replaced", {"product": "chair"})
        attributes: dict[str, Any] = {
            "server.address": "payments.example",
            "server.port": 8443,
            "network.peer.address": "192.0.2.7",
        }
        with tracing.span("POST", kind=SpanKind.CLIENT, attributes=attributes) as client:
            call("payments", client)
            client.set_status(SpanStatusCode.ERROR, "402 Payment Required")
        with tracing.span("orders publish", kind=SpanKind.PRODUCER, links=[client.trace_context]) as producer:
            producer.set_attribute("messaging.system", "kafka")
            call("mailer", producer)
    record(check, client, producer, server)


def payments() -> None:
    """A leaf whose error has no message, with times that are given."""
    started = time.time_ns() - 3_000_000  # within the caller's span, or Jaeger warns of the clock
    result = tracing.start_span("POST /charges", kind=SpanKind.SERVER, parent=remote(), start_time=started)
    tracing.add_span_event(result.span, "declined", {"code": 51}, timestamp=started + 1_234_567)
    tracing.set_span_status(result.span, SpanStatusCode.ERROR)
    tracing.end_span(result.span, started + 2_500_000)
    record(result.span)


def mailer() -> None:
    """A consumer in a trace of its own, linked to the producer's."""
    sender = remote()
    assert sender is not None
    link = Link(sender, {"messaging.message.id": "m-1"})
    with tracing.span("orders process", kind=SpanKind.CONSUMER, parent=TraceContext(), links=[link]) as consumer:
        consumer.set_attribute("messaging.batch.message_count", 1)
    record(consumer)


def remote() -> TraceContext | None:
    """The caller, as the headers name it."""
    return tracing.extract_context(HEADERS)


def call(service: str, span: Span) -> None:
    """Run another service under `span`."""
    headers: dict[str, str] = {}
    tracing.inject_context(span.trace_context, headers)
    environment = {**os.environ, "TRACING_SERVICE_NAME": service}
    command = [sys.executable, __file__, service, str(RECORD), json.dumps(headers)]
    subprocess.run(command, env=environment, check=True, timeout=60)


def record(*spans: Span) -> None:
    """Write down the spans, which have ended."""
    with RECORD.open("a") as file:
        for span in spans:
            file.write(json.dumps(describe(span)) + "\n")


def describe(span: Span) -> dict[str, Any]:
    """What is to be found on the server."""
    return {
        "service": SERVICE,
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "remote_parent": span.has_remote_parent,
        "name": span.name,
        "kind": span.kind.name,
        "start": span.start_time,
        "end": span.end_time,
        "attributes": dict(span.attributes),
        "events": [(event.name, event.timestamp, dict(event.attributes)) for event in span.events],
        "links": [(link.context.trace_id, link.context.span_id, dict(link.attributes)) for link in span.links],
        "status": span.status.name,
        "message": span.status_message,
    }


if __name__ == "__main__":
    {"gateway": gateway, "orders": orders, "payments": payments, "mailer": mailer}[SERVICE]()
    if not tracing.flush(30) or tracing.stats().dropped:
        sys.exit(f"{SERVICE}: {tracing.stats()}")
