"""Zipkin's v1 JSON (zipkin-api, zipkin-api.yaml): spans of core annotations, made spans of version 2.

`cs`, `cr`, `sr`, `ss`, `ms` and `mr` say the kind and when it began and ended; each has the endpoint that saw it. A
span that both sides of a call reported becomes two, the server's half `shared`. Binary annotations are tags, or with
`ca`, `sa` and `ma` the address of the other side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kai_tracing_backend.collector.documents import objects
from kai_tracing_backend.collector.validation import Accepted
from kai_tracing_backend.collector.zipkin import decode_spans, load_list
from kai_tracing_backend.columns import SpanColumns

__all__ = ["decode_v1", "halves"]

# By kind: the annotations that begin and end it, and the binary annotation with the address of the other side.
_SIDES = {
    "CLIENT": ("cs", "cr", "sa"),
    "SERVER": ("sr", "ss", "ca"),
    "PRODUCER": ("ms", "ws", "ma"),
    "CONSUMER": ("wr", "mr", "ma"),
}
_SIGNS = {"CLIENT": ("cs", "cr"), "SERVER": ("sr", "ss"), "PRODUCER": ("ms",), "CONSUMER": ("mr",)}
_CORE = frozenset(("cs", "cr", "sr", "ss", "ms", "mr", "ws", "wr"))
_ADDRESSES = frozenset(("ca", "sa", "ma"))


def decode_v1(body: bytes) -> tuple[SpanColumns, Accepted]:
    """The spans of a `POST /api/v1/spans`.

    Raises:
        ValueError: it is not a list in JSON.
    """
    return decode_spans(load_list(body), halves)


def halves(span: object) -> list[dict[str, Any]]:
    """The span as version 2: one, or one for each side that reported it."""
    if not isinstance(span, Mapping):
        raise ValueError("a span must be an object")
    annotations, binary = _objects(span, "annotations", "value"), _objects(span, "binaryAnnotations", "key")
    core = {one["value"]: one for one in annotations if one.get("value") in _CORE and one.get("endpoint")}
    kinds = [kind for kind, signs in _SIGNS.items() if any(sign in core for sign in signs)]
    made = [_half(span, kind, core, len(kinds) > 1) for kind in kinds] or [_of_addresses(span, binary)]
    _tell(made, annotations, binary, core)
    return made


def _plain(span: Mapping[str, Any]) -> dict[str, Any]:
    """What is the same for all halves."""
    made = {name: span.get(name) for name in ("traceId", "id", "parentId", "name", "timestamp", "duration", "debug")}
    return {**made, "annotations": [], "tags": {}}


def _of_addresses(span: Mapping[str, Any], binary: list[Any]) -> dict[str, Any]:
    """A span without core annotations: who was called knows the caller's address, and both are there from a middle."""
    made, found = _plain(span), {one["key"]: one.get("endpoint") for one in binary if one["key"] in ("ca", "sa")}
    if found.keys() == {"ca", "sa"}:
        made["localEndpoint"] = found["ca"]
    elif "ca" in found:
        made["kind"] = "SERVER"
    return made


def _half(span: Mapping[str, Any], kind: str, core: Mapping[str, Any], both: bool) -> dict[str, Any]:
    begin_name, end_name, _ = _SIDES[kind]
    begin, end = core.get(begin_name), core.get(end_name)
    if kind == "CONSUMER":
        begin = begin or end  # that it came may be all that is told
    made = {**_plain(span), "kind": kind, "localEndpoint": (begin or end or {}).get("endpoint")}
    answers = kind in ("SERVER", "CONSUMER")
    if (both and answers) or not made["timestamp"] or not made["duration"]:
        made["timestamp"] = begin.get("timestamp") if begin else made["timestamp"]
        made["duration"] = _between(begin, end)
    if end and not made["timestamp"]:
        made["annotations"].append({"timestamp": end.get("timestamp"), "value": end_name})
    # Version 1 has no such flag: who joins a span of somebody else does not tell its times.
    joins = kind == "SERVER" and bool(begin) and not span.get("timestamp")
    made["shared"] = answers and (both or joins)
    return made


def _between(begin: Mapping[str, Any] | None, end: Mapping[str, Any] | None) -> int:
    times = [one.get("timestamp") if one else None for one in (begin, end)]
    if isinstance(times[0], int) and isinstance(times[1], int):
        return max(0, times[1] - times[0])
    return 0


def _tell(halves: list[dict[str, Any]], annotations: list[Any], binary: list[Any], core: Mapping[str, Any]) -> None:
    """Give each half its annotations, tags and the address of the other side."""
    for one in annotations:
        if core.get(one.get("value")) is not one:
            _of(halves, one)["annotations"].append({"timestamp": one.get("timestamp"), "value": one.get("value")})
    for one in binary:
        key, value = one.get("key"), one.get("value")
        if key in _ADDRESSES and (value is True or value is None):
            for half in halves:
                other = "kind" not in half or _SIDES[half["kind"]][2] == key
                if other and half.get("localEndpoint") is not one.get("endpoint"):
                    half["remoteEndpoint"] = one.get("endpoint")
        elif not (key == "lc" and not value):
            _of(halves, one)["tags"][key] = _tag(value)
    if not halves[0].get("localEndpoint"):
        seen = (one.get("endpoint") for one in (*annotations, *binary) if one.get("key") not in _ADDRESSES)
        halves[0]["localEndpoint"] = next(filter(None, seen), None)


def _of(halves: list[dict[str, Any]], one: Mapping[str, Any]) -> dict[str, Any]:
    """Whose an annotation is: the half of the same service, or the first."""
    service = _service(one.get("endpoint"))
    return next((half for half in halves if service and _service(half.get("localEndpoint")) == service), halves[0])


def _service(endpoint: Any) -> Any:
    return endpoint.get("serviceName") if isinstance(endpoint, Mapping) else None


def _tag(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


def _objects(span: Mapping[str, Any], name: str, word: str) -> list[Mapping[str, Any]]:
    """A list of annotations, each with a text, its `word`, and perhaps an endpoint."""
    items = objects(span, name)
    for item in items:
        if not isinstance(item.get(word), str):
            raise ValueError(f"{word} in {name} must be a text")
        if not isinstance(item.get("endpoint") or {}, Mapping):
            raise ValueError(f"endpoint in {name} must be an object")
    return items
