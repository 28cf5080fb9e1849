"""Recorded traces, read from files of OTLP JSON lines (opentelemetry-proto, "JSON Protobuf Encoding")."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kai_tracing_core.span import SpanKind

__all__ = ["RecordedSpan", "RecordingError", "read_recording"]

_GZIP = b"\x1f\x8b"
_SCALARS = ("stringValue", "boolValue", "doubleValue", "bytesValue")


class RecordingError(ValueError):
    """A file is no recording; the message names the file and the line."""


@dataclass(slots=True)
class RecordedSpan:
    """One span of a recording, as samplers and tail policies see it; `size` is its length in bytes as JSON."""

    trace_id: int
    span_id: int
    parent_id: int
    service: str
    name: str
    kind: SpanKind
    size: int
    _start: int
    _end: int
    _status: int
    _attributes: dict[str, Any]


def read_recording(path: Path) -> Iterator[RecordedSpan]:
    """The spans of a file, which may be compressed with gzip: one ExportTraceServiceRequest a line.

    Raises:
        RecordingError: the file cannot be read, or a line is no such request.
    """
    line = 0
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == _GZIP
            raw.seek(0)
            lines = gzip.GzipFile(fileobj=raw) if compressed else raw
            for line, text in enumerate(lines, 1):  # noqa: B007 - the messages below name the line
                if text.strip():
                    yield from _spans(json.loads(text))
    except (OSError, EOFError) as error:
        raise RecordingError(f"{path}: {error}") from error
    except json.JSONDecodeError as error:
        raise RecordingError(f"{path}:{line}: no JSON: {error.msg} at character {error.pos + 1}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        said = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise RecordingError(f"{path}:{line}: no OTLP spans: {said}") from error


def _spans(request: Mapping[str, Any]) -> Iterator[RecordedSpan]:
    for resource_spans in request["resourceSpans"]:
        resource = _attributes(resource_spans.get("resource", {}).get("attributes"))
        service = str(resource.get("service.name", "unknown_service"))
        for scope_spans in resource_spans.get("scopeSpans", ()):
            for span in scope_spans.get("spans", ()):
                yield _span(span, service)


def _span(span: Mapping[str, Any], service: str) -> RecordedSpan:
    kind = span.get("kind", 1) or 1
    return RecordedSpan(
        trace_id=int(span["traceId"], 16),
        span_id=int(span["spanId"], 16),
        parent_id=int(span.get("parentSpanId") or "0", 16),
        service=service,
        name=str(span.get("name", "")),
        kind=SpanKind(int(kind) - 1),
        size=len(json.dumps(span, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")),
        _start=int(span["startTimeUnixNano"]),
        _end=int(span["endTimeUnixNano"]),
        _status=int(span.get("status", {}).get("code", 0)),
        _attributes=_attributes(span.get("attributes")),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair["key"]: _value(pair.get("value", {})) for pair in pairs or ()}


def _value(value: Mapping[str, Any]) -> Any:
    if "intValue" in value:
        return int(value["intValue"])
    if "arrayValue" in value:
        return [_value(item) for item in value["arrayValue"].get("values", ())]
    return next((value[kind] for kind in _SCALARS if kind in value), None)
