"""Traces as Chrome's trace events, which Perfetto and chrome://tracing open ("Trace Event Format").

A service is a process. Spans of a service that overlap without one being in the other are in different threads, since
events of one thread have to nest. A call that goes to another service, or that outlives its caller, is an arrow (flow).
Times are microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kai_tracing_backend.formats.jaeger import KINDS
from kai_tracing_backend.model import StoredSpan
from kai_tracing_backend.values import plain

__all__ = ["trace_events"]


def trace_events(spans: Iterable[StoredSpan]) -> dict[str, Any]:
    """The object form: `traceEvents`, complete events ("X"), instants ("i"), flows ("s" and "f") and names ("M")."""
    ordered = sorted(spans, key=lambda span: (span.start_time, -span.duration))
    processes = {service: number for number, service in enumerate(dict.fromkeys(s.service for s in ordered), 1)}
    threads = _threads(ordered)
    events: list[dict[str, Any]] = []
    for service, process in processes.items():
        events.append(_named("process_name", process, 0, service))
        count = max(thread for span, thread in zip(ordered, threads, strict=True) if span.service == service)
        events += [_named("thread_name", process, thread, f"{service} {thread}") for thread in range(1, count + 1)]
    places: dict[str, tuple[StoredSpan, int, int]] = {}
    for span, thread in zip(ordered, threads, strict=True):
        place = (span, processes[span.service], thread)
        events.append(_complete(*place))
        events += [_instant(event.time, event.name, event.attributes, place) for event in span.events]
        places.setdefault(span.span_id, place)
    for span, thread in zip(ordered, threads, strict=True):
        caller = places.get(span.parent_id or "")
        if caller is not None and _leaves(caller[0], span):
            events += _flow(len(events) + 1, caller, (span, processes[span.service], thread))
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _threads(spans: Sequence[StoredSpan]) -> list[int]:
    """For each span, which come by start, the first thread of its service where it nests."""
    open_ends: dict[str, list[list[int]]] = {}
    found = []
    for span in spans:
        end = span.start_time + span.duration
        lanes = open_ends.setdefault(span.service, [])
        for lane in lanes:
            while lane and lane[-1] <= span.start_time:
                lane.pop()
        fitting = (number for number, lane in enumerate(lanes) if not lane or lane[-1] >= end)
        number = next(fitting, len(lanes))
        if number == len(lanes):
            lanes.append([])
        lanes[number].append(end)
        found.append(number + 1)
    return found


def _leaves(caller: StoredSpan, span: StoredSpan) -> bool:
    """Whether a call goes to another service, or is not waited for."""
    return caller.service != span.service or span.start_time + span.duration > caller.start_time + caller.duration


def _complete(span: StoredSpan, process: int, thread: int) -> dict[str, Any]:
    arguments = {key: plain(value) for key, value in span.attributes.items()}
    arguments |= {"trace_id": span.trace_id, "span_id": span.span_id}
    if span.status == 2:
        arguments["error"] = span.status_message or "true"
    event = {
        "name": span.name or "(no name)",
        "cat": KINDS[span.kind] or "span",
        "ph": "X",
        "ts": span.start_time / 1_000,
        "dur": span.duration / 1_000,
        "pid": process,
        "tid": thread,
        "args": arguments,
    }
    return {**event, "cname": "terrible"} if span.status == 2 else event


def _instant(time: int, name: str, attributes: Any, place: tuple[StoredSpan, int, int]) -> dict[str, Any]:
    _, process, thread = place
    arguments = {key: plain(value) for key, value in attributes.items()}
    return {
        "name": name or "event",
        "cat": "event",
        "ph": "i",
        "s": "t",
        "ts": time / 1_000,
        "pid": process,
        "tid": thread,
        "args": arguments,
    }


def _flow(
    number: int, source: tuple[StoredSpan, int, int], target: tuple[StoredSpan, int, int]
) -> list[dict[str, Any]]:
    """An arrow: both of its ends are inside of the slices that they belong to."""
    caller, _, _ = source
    span, _, _ = target
    moment = min(max(span.start_time, caller.start_time), caller.start_time + caller.duration)
    shared = {"name": "call", "cat": "call", "id": number}
    return [
        {**shared, "ph": "s", "ts": moment / 1_000, "pid": source[1], "tid": source[2]},
        {**shared, "ph": "f", "bp": "e", "ts": span.start_time / 1_000, "pid": target[1], "tid": target[2]},
    ]


def _named(what: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "ts": 0, "pid": process, "tid": thread, "args": {"name": name}}
