"""What all query APIs ask the store for traces."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kai_tracing_backend.api.parameters import ParameterError
from kai_tracing_backend.formats.jaeger import KINDS
from kai_tracing_backend.language.building import any_of, attribute, compare
from kai_tracing_backend.language.nodes import Condition, TraceQuery
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.storage.contract import SpanStore

__all__ = ["MAX_TRACES", "find", "is_value", "normal_id", "of_service"]

MAX_TRACES = 1_500
"""Of one search in the words of others; Jaeger's UI asks for no more."""

_MAX_SPANS = 200_000  # of all the traces of an answer; the one that exceeds it is the last
_SHOWN_AS_TAGS: dict[tuple[str, str], tuple[str, str, int]] = {
    ("error", "true"): ("status", "=", 2),
    ("error", "false"): ("status", "!=", 2),
    ("otel.status_code", "error"): ("status", "=", 2),
    ("otel.status_code", "ok"): ("status", "=", 1),
    **{("span.kind", name): ("kind", "=", number) for number, name in enumerate(KINDS) if name},
}
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]+")


def normal_id(name: str, text: str, digits: int = 32) -> str:
    """A trace id, or a span's with 16 digits, with all its digits; a shorter one has zeros on the left."""
    if not _HEXADECIMAL.fullmatch(text) or len(text) > digits:
        what = "trace" if digits == 32 else "span"
        raise ParameterError(name, f"a {what} id has 1 to {digits} hexadecimal digits")
    return text.lower().rjust(digits, "0")


def find(store: SpanStore, query: TraceQuery, start: int, end: int, limit: int) -> Iterator[list[StoredSpan]]:
    """The whole traces that a query finds, newest first."""
    if limit <= 0:
        return
    wanted, spans = [], 0
    for one in store.search(query, start, end, limit=limit, spans_per_set=1).traces:
        wanted.append(one.summary.trace_id)
        spans += one.summary.spans
        if spans > _MAX_SPANS:
            break
    yield from store.traces(wanted)


def of_service(name: str) -> Condition:
    """Spans of a service."""
    return compare(attribute("service.name", "resource"), "=", name)


def is_value(key: str, text: str) -> Condition:
    """An attribute of a span or its resource is this, of whatever type: others' parameters know text only.

    What Zipkin and Jaeger show as tags although it is no attribute is found, too: an error, the kind and the status.
    """
    if (found := _SHOWN_AS_TAGS.get((key, text.lower()))) is not None:
        return any_of(compare(*found), compare(attribute(key), "=", text))
    field = attribute(key)
    conditions = [compare(field, "=", text)]
    if text in ("true", "false"):
        conditions.append(compare(field, "=", text == "true"))
    for kind in (int, float):
        try:
            conditions.append(compare(field, "=", kind(text)))
        except ValueError:
            continue
        break
    return any_of(*conditions)
