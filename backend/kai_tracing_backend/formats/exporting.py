"""Traces as files: what each format is called, its media type and file name, and its text piece by piece."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from kai_tracing_backend.formats import chrome, html, jaeger, otlp, zipkin
from kai_tracing_backend.formats.telling import telling
from kai_tracing_backend.model import StoredSpan

__all__ = ["FORMATS", "Format", "Traces"]

Traces = Iterable[Sequence[StoredSpan]]


class Format(NamedTuple):
    """How traces are written. `write` gives text of any length, for traces one after the other."""

    media_type: str
    extension: str
    write: Callable[[Traces], Iterator[str]]


def _text(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def _otlp(traces: Traces) -> Iterator[str]:
    """A request a line: what collectors write to files and read."""
    for spans in traces:
        yield _text(otlp.traces_data(telling(spans))) + "\n"


def _list_of(documents: Iterable[Any], before: str, after: str) -> Iterator[str]:
    separator = before
    for document in documents:
        yield separator + _text(document)
        separator = ",\n"
    yield (before if separator == before else "") + after + "\n"


def _zipkin(traces: Traces) -> Iterator[str]:
    return _list_of((span for spans in traces for span in zipkin.trace_document(spans)), "[", "]")


def _jaeger(traces: Traces) -> Iterator[str]:
    return _list_of((jaeger.trace_document(spans) for spans in traces), '{"data":[', "]}")


def _chrome(traces: Traces) -> Iterator[str]:
    document = chrome.trace_events(span for spans in traces for span in spans)
    yield from _list_of(document["traceEvents"], '{"displayTimeUnit":"ms","traceEvents":[', "]}")


def _html(traces: Traces) -> Iterator[str]:
    yield html.page(traces)


FORMATS: dict[str, Format] = {
    "otlp": Format("application/x-ndjson", "otlp.jsonl", _otlp),
    "zipkin": Format("application/json", "zipkin.json", _zipkin),
    "jaeger": Format("application/json", "jaeger.json", _jaeger),
    "chrome": Format("application/json", "chrome.json", _chrome),
    "html": Format("text/html; charset=utf-8", "html", _html),
}
"""By name. The first three can be imported again."""
