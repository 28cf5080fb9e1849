"""Traces as one HTML file that needs nothing else: no network, no server, styles and script inside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from kai_tracing_backend.columns import dump_resource
from kai_tracing_backend.formats.jaeger import KINDS
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.values import Value, plain

__all__ = ["page"]

_TEMPLATE = (files("kai_tracing_backend.formats") / "trace.html").read_text("utf-8")
_PLACE = "/* traces */"


def page(traces: Iterable[Sequence[StoredSpan]]) -> str:
    """The page of some traces, each with its waterfall.

    What senders said is data, never markup: the script puts it in as text, and the page's policy lets nothing be
    loaded or sent.
    """
    document = json.dumps([_trace(spans) for spans in traces], separators=(",", ":"), ensure_ascii=False)
    for sign, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u2028", "\\u2028")):
        document = document.replace(sign, escaped)
    before, after = _TEMPLATE.split(_PLACE)
    return f"{before}{document}{after}"


def _trace(spans: Sequence[StoredSpan]) -> dict[str, Any]:
    start = min(span.start_time for span in spans)
    resources: dict[str, int] = {}
    described: list[dict[str, str]] = []
    rows = []
    for span in spans:
        key = dump_resource(span.resource)
        if key not in resources:
            resources[key] = len(described)
            described.append(_texts(span.resource))
        rows.append(_span(span, start, resources[key]))
    return {"id": spans[0].trace_id, "start": start // 1_000_000, "resources": described, "spans": rows}


def _span(span: StoredSpan, start: int, resource: int) -> dict[str, Any]:
    return {
        "id": span.span_id,
        "parent": span.parent_id or "",
        "name": span.name,
        "service": span.service,
        "kind": KINDS[span.kind],
        "error": span.status == 2,
        "message": span.status_message,
        "start": span.start_time - start,
        "duration": span.duration,
        "attributes": _texts(span.attributes),
        "events": [
            {"time": event.time - start, "name": event.name, "attributes": _texts(event.attributes)}
            for event in span.events
        ],
        "links": [f"{link.trace_id} / {link.span_id}" for link in span.links],
        "scope": f"{span.scope.name} {span.scope.version}".strip(),
        "resource": resource,
    }


def _texts(attributes: Any) -> dict[str, str]:
    found: dict[str, Value] = dict(attributes)
    return {key: plain(found[key]) for key in sorted(found)}
