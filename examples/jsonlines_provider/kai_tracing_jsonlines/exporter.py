"""From spans to lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kai_tracing_core import Span
from kai_tracing_core.processing.processor import Rejected, Retryable, SpanExporter

__all__ = ["JsonLinesExporter", "encode"]


class JsonLinesExporter(SpanExporter):
    """Appends spans to a file. Called on one thread at a time."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes

    def export(self, spans: Sequence[Span], timeout: float) -> int:
        """Append one line for each span.

        Raises:
            Rejected: the file is full.
            Retryable: it cannot be written now.
        """
        lines = "".join(f"{json.dumps(encode(span))}\n" for span in spans).encode()
        try:
            # One write to a file in append mode, so that the lines of several processes do not mix.
            with self._path.open("ab", buffering=0) as file:
                if file.tell() + len(lines) > self._max_bytes:
                    raise Rejected(f"{self._path} is full", reason="file_full")
                file.write(lines)
        except OSError as error:
            raise Retryable(f"{self._path}: {error}") from error
        return 0


def encode(span: Span) -> dict[str, Any]:
    """The span as JSON has it; times in nanoseconds since the epoch."""
    return {
        "service": span.resource.get("service.name"),
        "name": span.name,
        "kind": span.kind.name,
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "start": span.start_time,
        "end": span.end_time,
        "status": span.status.name,
        "message": span.status_message,
        "attributes": span.attributes,
        "events": [
            {"name": event.name, "time": event.timestamp, "attributes": event.attributes} for event in span.events
        ],
        "links": [
            {"trace_id": link.context.trace_id, "span_id": link.context.span_id, "attributes": link.attributes}
            for link in span.links
        ],
    }
