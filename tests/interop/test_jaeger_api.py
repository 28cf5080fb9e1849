"""The backend's Jaeger APIs against Jaeger's own server: both get the same traces and are asked the same.

What may differ, and is evened out here:

- The order of names, tags and traces, where Jaeger's memory has none: when more is found than `limit`, Jaeger's choice
  is not the newest.
- Jaeger moves spans whose clocks seem wrong unless it is asked for raw ones; the backend shows all as they were sent.
- Jaeger counts calls within a service as dependencies.
- Jaeger's memory does not find a span by the tag `span.kind` that it shows; its other stores and the backend do.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop.servers import Jaeger, get
from tests.support.backend import running
from tests.support.recordings import files

Json = Any
SHOWN = 40  # traces that are compared span by span


class Both:
    """Jaeger and the backend with the same spans."""

    def __init__(self, jaeger: str, backend: str, spans: list[Json]) -> None:
        self.urls = (jaeger, backend)
        self.ids = sorted({span["traceId"] for span in spans})
        times = [int(span["startTimeUnixNano"]) for span in spans]
        self.first, self.last = min(times) - 1_000_000_000, max(times) + 1_000_000_000
        self.window = {"start": str(self.first // 1_000), "end": str(self.last // 1_000), "limit": "1500"}

    def ask(self, path: str, **query: str) -> tuple[Json, Json]:
        """The answers of both."""
        theirs, ours = (get(f"{url}/api/{path}", **query) for url in self.urls)
        return theirs, ours


@pytest.fixture(scope="module")
def both(jaeger: Jaeger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Both servers with a minute of a real shop."""
    (recorded,) = files("onlineboutique.otlp.jsonl.gz").values()
    requests = [json.loads(line) for line in recorded.splitlines()]
    spans = [
        span for one in requests for of in one["resourceSpans"] for scope in of["scopeSpans"] for span in scope["spans"]
    ]
    with running(tmp_path_factory.mktemp("backend")) as backend:
        for port in (jaeger.port["otlp_http"], backend.settings.otlp_http_port):
            for one in requests:
                body, headers = json.dumps(one).encode(), {"Content-Type": "application/json"}
                request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/traces", body, headers)
                with urllib.request.urlopen(request, timeout=120) as answer:
                    assert answer.status == 200
        last = spans[-1]["traceId"]
        jaeger.spans(last, sum(span["traceId"] == last for span in spans))
        yield Both(jaeger.url, f"http://127.0.0.1:{backend.settings.api_port}", spans)


def in_order(values: list[Json]) -> list[Json]:
    """A list in one order."""
    return sorted(values, key=lambda value: json.dumps(value, sort_keys=True))


def evened(trace: Json) -> list[Json]:
    """The spans of a trace, each with its process, tags and fields in one order."""
    processes = {key: {**one, "tags": in_order(one["tags"])} for key, one in trace["processes"].items()}
    return in_order(
        [
            {
                **{name: value for name, value in span.items() if name not in ("processID", "flags")},
                "process": processes[span["processID"]],
                "tags": in_order(span["tags"]),
                "logs": [{**log, "fields": in_order(log["fields"])} for log in span["logs"]],
            }
            for span in trace["spans"]
        ]
    )


def test_lists_are_the_same(both: Both) -> None:
    """Services, and the operations of each in all three forms."""
    theirs, ours = both.ask("services")
    known = set(ours["data"])
    assert known <= set(theirs["data"])
    assert len(known) == 10
    assert set(both.ask("v3/services")[1]["services"]) == known
    for service in sorted(known):
        for path, query, name in (
            (f"services/{service}/operations", {}, "data"),
            ("operations", {"service": service}, "data"),
            ("operations", {"service": service, "spanKind": "internal"}, "data"),
            ("v3/operations", {"service": service}, "operations"),
        ):
            theirs, ours = both.ask(path, **query)
            assert in_order(ours[name]) == in_order(theirs[name]), (path, query)
            assert ours.get("total") == theirs.get("total")


def test_traces_are_the_same(both: Both) -> None:
    """Span by span, field by field, in the envelope; several by id, and as OTLP."""
    for trace_id in both.ids[:SHOWN]:
        theirs, ours = both.ask(f"traces/{trace_id}", raw="true")
        assert evened(ours["data"][0]) == evened(theirs["data"][0])
        assert {**ours, "data": None} == {**theirs, "data": None}
        theirs, ours = both.ask(f"v3/traces/{trace_id}", raw_traces="true")
        assert otlp(ours) == otlp(theirs)


def otlp(answer: Json) -> list[Json]:
    """The spans of an answer of version 3, each with its resource and scope; empty is as good as absent."""
    return in_order(
        [
            {
                **{key: value for key, value in span.items() if value},
                "attributes": in_order(span.get("attributes", [])),
                "resource": in_order(of["resource"].get("attributes", [])),
                "scope": {key: value for key, value in scope.get("scope", {}).items() if value},
            }
            for of in answer["result"]["resourceSpans"]
            for scope in of["scopeSpans"]
            for span in scope["spans"]
        ]
    )


@pytest.mark.parametrize(
    "asked",
    [
        {"service": "frontend"},
        {"service": "cartservice", "minDuration": "2ms"},
        {"service": "cartservice", "maxDuration": "900us"},
        {"service": "checkoutservice", "operation": "hipstershop.CheckoutService/PlaceOrder"},
        {"service": "frontend", "tags": '{"error":"true"}'},
        {"service": "frontend", "tag": "k8s.pod.name:frontend-579b9bff58-t2dbm"},
        {"service": "frontend", "tags": '{"nothing":"there"}'},
    ],
    ids=str,
)
def test_searches_find_the_same(both: Both, asked: dict[str, str]) -> None:
    """By every parameter, the same traces."""
    theirs, ours = both.ask("traces", **both.window, **asked)
    assert {trace["traceID"] for trace in ours["data"]} == {trace["traceID"] for trace in theirs["data"]}


def test_searches_of_version_3_find_the_same(both: Both) -> None:
    """With times in RFC 3339, in both spellings."""
    first, last = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at // 10**9)) for at in (both.first, both.last))
    asked = {"query.service_name": "emailservice", "query.num_traces": "1500"}
    window = {"query.start_time_min": first, "query.start_time_max": last}
    theirs, ours = both.ask("v3/traces", **window, **asked)
    assert {span["traceId"] for span in otlp(ours)} == {span["traceId"] for span in otlp(theirs)} != set()


def test_dependencies_agree(both: Both) -> None:
    """Each call between services, counted."""
    lookback = (both.last - both.first) // 1_000_000
    theirs, ours = both.ask("dependencies", endTs=str(both.last // 1_000_000), lookback=str(lookback))
    between = [edge for edge in theirs["data"] if edge["parent"] != edge["child"]]
    assert in_order(ours["data"]) == in_order(between)


@pytest.mark.parametrize(
    "path",
    [
        "traces/xyz",
        "traces/" + "f" * 32,
        "traces",
        "traces?service=a&minDuration=5",
        "traces?service=a&minDuration=5s&maxDuration=4s",
        "traces?service=a&tags=x",
        "traces?service=a&tag=x",
        "operations",
        "v3/traces",
        "v3/traces/xyz",
        "v3/traces/" + "f" * 32,
    ],
)
def test_refusals_are_the_same(both: Both, path: str) -> None:
    """The status, and where an error's words are."""
    answers = []
    for url in both.urls:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{url}/api/{path}", timeout=60)
        with caught.value as error:
            answers.append((error.code, json.loads(error.read())))
    theirs, ours = answers
    assert ours[0] == theirs[0]
    assert set(theirs[1]) <= set(ours[1])
