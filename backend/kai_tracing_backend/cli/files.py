"""Files of traces, cut into parts that a request may have, with all their times moved where that is asked for."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

__all__ = ["parts_of"]

_PART = 8 << 20
_LARGEST = 1 << 30
"""Bytes of a file after decompression."""

_NANOSECONDS = ("startTimeUnixNano", "endTimeUnixNano", "timeUnixNano")
_MICROSECONDS = ("timestamp", "startTime")


def parts_of(path: Path, *, shift_to_now: bool = False) -> Iterator[tuple[bytes, int, int]]:
    """The parts of a file, its size, and the line that each begins with, 0 where it has no lines.

    Raises:
        click.ClickException: it cannot be read, or is too large.
    """
    content = _read(path)
    size = len(content)
    if shift_to_now:
        content = _shifted(path, content)
        size = len(content)
    if content.lstrip()[:1] != b"{" or b"\n{" not in content.rstrip():
        for part in _whole(content):
            yield part, size, 0
        return
    lines = content.splitlines(keepends=True)
    held: list[bytes] = []
    first, length = 1, 0
    for number, line in enumerate(lines, 1):
        if held and length + len(line) > _PART:
            yield b"".join(held), size, first
            first, held, length = number, [], 0
        held.append(line)
        length += len(line)
    if held:
        yield b"".join(held), size, first


def _whole(content: bytes) -> Iterator[bytes]:
    """A document; a long list of Zipkin's spans in pieces."""
    if len(content) <= _PART or content.lstrip()[:1] != b"[":
        yield content
        return
    spans = json.loads(content)
    step = max(1, len(spans) * _PART // len(content))
    for first in range(0, len(spans), step):
        yield json.dumps(spans[first : first + step]).encode()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise click.ClickException(f"{path} cannot be read: {error}") from error
    if len(content) > _LARGEST:
        raise click.ClickException(f"{path} has more than {_LARGEST} bytes: split it")
    return content


# -- moving times ------------------------------------------------------------------------------------------------------


def _shifted(path: Path, content: bytes) -> bytes:
    if content.lstrip()[:1] not in (b"{", b"["):
        return _shifted_protobuf(path, content)
    try:
        documents = [json.loads(content)]
    except ValueError:
        documents = _lines(path, content)
    latest = 0

    def look(value: int, unit: int) -> int:
        nonlocal latest
        latest = max(latest, value * unit)
        return value

    for document in documents:
        _walk(document, look)
    offset = time.time_ns() - latest if latest else 0
    for document in documents:
        _walk(document, lambda value, unit: value + offset // unit)
    return b"\n".join(json.dumps(document, ensure_ascii=False).encode() for document in documents)


def _lines(path: Path, content: bytes) -> list[Any]:
    found = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            if line.strip():
                found.append(json.loads(line))
        except ValueError as error:
            raise click.ClickException(f"{path}, line {number}: not JSON: {error}") from error
    return found


def _walk(node: Any, change: Callable[[int, int], int]) -> None:
    """Every time in a document of one of the formats; attributes are left alone."""
    if isinstance(node, list):
        for item in node:
            _walk(item, change)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in _NANOSECONDS and isinstance(value, (str, int)) and int(value):
                node[key] = str(change(int(value), 1))
            elif key in _MICROSECONDS and isinstance(value, int):
                node[key] = change(value, 1_000)
            elif key not in ("attributes", "tags", "fields"):
                _walk(value, change)


def _shifted_protobuf(path: Path, content: bytes) -> bytes:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    try:
        traces = TracesData.FromString(content)
    except DecodeError as error:
        raise click.ClickException(f"{path}: neither JSON nor OTLP in protobuf: {error}") from error
    spans = [span for of in traces.resource_spans for scope in of.scope_spans for span in scope.spans]
    offset = time.time_ns() - max((span.end_time_unix_nano for span in spans), default=time.time_ns())
    for span in spans:
        span.start_time_unix_nano += offset
        span.end_time_unix_nano += offset
        for event in span.events:
            event.time_unix_nano += offset
    return traces.SerializeToString()
