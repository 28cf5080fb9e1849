"""Traces as files: text for people, and OTLP JSON for whatever reads that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kai_tracing_core.span import Span
from kai_tracing_inmemory.assertions import SpanAssertions
from kai_tracing_inmemory.tree import SpanNode, describe

__all__ = ["details", "save"]


def save(spans: SpanAssertions, directory: Path, name: str) -> Iterator[Path]:
    """Write `<name>.txt` and, where opentelemetry-proto is installed, `<name>.jsonl`; gives the paths.

    The latter is one OTLP/JSON request in a line, as trace viewers and `kai-tracing sampling simulate` read it.

    Raises:
        OSError: a file cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    text = directory / f"{name}.txt"
    text.write_text("\n".join(details(spans)) + "\n", encoding="utf-8", errors="backslashreplace")
    yield text
    try:
        from kai_tracing_core.processing.otlp import encode_json, read_request
        from kai_tracing_core.processing.otlp_encoding import encode_request

        encoded = encode_json(read_request(encode_request(spans.spans)))
    except ImportError:
        return
    recording = directory / f"{name}.jsonl"
    recording.write_bytes(encoded + b"\n")
    yield recording


def details(spans: SpanAssertions) -> Iterator[str]:
    """All that is known of the spans: a tree with identities, attributes and events."""
    pending: list[tuple[SpanNode, str]] = [(node, "") for node in reversed(spans.tree())]
    while pending:
        node, indent = pending.pop()
        yield indent + describe(node.span)
        yield from (f"{indent}    {line}" for line in _details(node.span))
        pending.extend((child, indent + "  ") for child in reversed(node.children))


def _details(span: Span) -> Iterator[str]:
    yield f"trace {span.trace_id} span {span.span_id} parent {span.parent_id or 'none'} start {span.start_time}"
    for key, value in span.attributes.items():
        yield f"{key} = {value!r}"
    for event in span.events:
        yield f"event {event.name} at {(event.timestamp - span.start_time) / 1e6:.2f} ms"
        for key, value in event.attributes.items():
            yield f"    {key} = {value!r}"
    for link in span.links:
        yield f"link {link.context.trace_id} {link.context.span_id} {dict(link.attributes)!r}"
