"""What is imported from files: the format is told by the content, JSON Lines are taken as one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from kai_tracing_backend.collector import jaeger_json, otlp, zipkin
from kai_tracing_backend.collector.validation import Accepted
from kai_tracing_backend.columns import SpanColumns

__all__ = ["FORMATS", "decode", "detect"]

FORMATS = ("otlp", "zipkin", "jaeger")

_DECODERS: dict[str, Callable[[bytes], tuple[SpanColumns, Accepted]]] = {
    "otlp": otlp.decode_json,
    "zipkin": zipkin.decode,
    "jaeger": jaeger_json.decode,
}


def decode(body: bytes, kind: str | None) -> tuple[list[pa.Table], Accepted]:
    """The spans of a file, as batches. `kind` is one of `FORMATS`, or None to find out.

    Raises:
        ValueError: it is none of them, or broken; with the line where the file has several.
    """
    accepted = Accepted()
    tables = []
    for number, part in _parts(body):
        try:
            if number == 0 and kind in (None, "otlp"):
                columns, of_part = _decode_protobuf(part)
            else:
                columns, of_part = _DECODERS[kind or detect(part)](part)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}" if number > 0 else str(error)) from error
        accepted.add(of_part)
        if len(columns):
            tables.append(columns.finish())
    return tables, accepted


def _decode_protobuf(body: bytes) -> tuple[SpanColumns, Accepted]:
    columns, accepted = otlp.decode_protobuf(body)
    if body and not len(columns) and not accepted.rejected:  # protobuf takes much for unknown fields
        raise ValueError("neither JSON nor OTLP in protobuf: there are no spans in it")
    return columns, accepted


def _parts(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The documents of a file with their lines; -1 is one document, 0 is no JSON."""
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] not in (b"{", b"["):
        yield 0, body
        return
    lines = [(number, line) for number, line in enumerate(body.splitlines(), 1) if line.strip()]
    if len(lines) > 1 and all(_complete(line) for _, line in lines[:2]):
        yield from lines
    else:
        yield -1, start


def _complete(line: bytes) -> bool:
    """Whether a line is a document by itself."""
    try:
        return isinstance(json.loads(line), (dict, list))
    except (ValueError, RecursionError):
        return False


def detect(body: bytes) -> str:
    """Which of `FORMATS` a JSON document is of.

    Raises:
        ValueError: none of them.
    """
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    first = document[0] if isinstance(document, list) and document else document
    if isinstance(first, Mapping):
        if "resourceSpans" in first:
            return "otlp"
        if "data" in first or "processes" in first:
            return "jaeger"
        if "traceId" in first and "id" in first:
            return "zipkin"
    if document == []:
        return "zipkin"
    raise ValueError(
        "neither OTLP JSON (resourceSpans), nor Zipkin v2 JSON (a list of spans with traceId and id), nor Jaeger JSON "
        "(data, spans and processes)"
    )
