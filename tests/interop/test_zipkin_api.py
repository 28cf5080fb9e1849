"""The backend's Zipkin API against Zipkin's own server: both get the same traces and are asked the same.

What may differ, and is evened out here:

- Zipkin writes the names of services and spans in lower case, the backend as they were sent.
- Of a span without any time Zipkin makes one that is in no list; the backend refuses it, and says so to the sender.
- Zipkin counts calls within a service and to peers that send no spans themselves as dependencies, and counts a call
  that both sides recorded once; the backend has an edge for each span whose parent is in another service.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop.servers import Zipkin, get
from tests.interop.shared_data import files
from tests.support.backend import running

Json = Any


class Both:
    """Zipkin and the backend with the same spans."""

    def __init__(self, zipkin: str, backend: str, spans: list[Json]) -> None:
        self.urls = (zipkin, backend)
        self.spans = spans
        self.services = {span["localEndpoint"]["serviceName"].lower() for span in spans if "localEndpoint" in span}
        self.ids = sorted({span["traceId"] for span in spans})
        times = [span["timestamp"] // 1_000 for span in spans]
        self.window = {"endTs": str(max(times) + 1_000), "lookback": str(max(times) - min(times) + 2_000)}

    def ask(self, path: str, **query: str) -> tuple[Json, Json]:
        """The answers of both."""
        theirs, ours = (get(f"{url}/api/v2/{path}", **query) for url in self.urls)
        return theirs, ours


@pytest.fixture(scope="module")
def both(zipkin: Zipkin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Both servers with the recorded Zipkin traces."""
    recorded = [span for body in files("zipkin-*.json.gz").values() for span in json.loads(body)]
    spans = [span for span in recorded if span.get("timestamp")]
    with running(tmp_path_factory.mktemp("backend")) as backend:
        ours = f"http://127.0.0.1:{backend.settings.zipkin_port}"
        for url in (zipkin.url, ours):
            body = json.dumps(spans).encode()
            request = urllib.request.Request(f"{url}/api/v2/spans", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert (answer.status, answer.read()) == (202, b"")
        for trace_id in {span["traceId"] for span in spans}:
            zipkin.trace(trace_id, sum(span["traceId"] == trace_id for span in spans))
        yield Both(zipkin.url, ours, spans)


def evened(span: Json) -> Json:
    """A span with names in lower case, and annotations in one order."""
    found = {**span, "name": span.get("name", "").lower()}
    if not found["name"]:
        del found["name"]
    if "annotations" in span:
        found["annotations"] = sorted(span["annotations"], key=json.dumps)
    for side in ("localEndpoint", "remoteEndpoint"):
        if "serviceName" in span.get(side, {}):
            found[side] = {**span[side], "serviceName": span[side]["serviceName"].lower()}
    return found


def in_order(spans: list[Json]) -> list[Json]:
    """Spans evened out, in one order."""
    return sorted(map(evened, spans), key=lambda span: json.dumps(span, sort_keys=True))


def lower(names: list[str]) -> list[str]:
    """Names as Zipkin has them."""
    return sorted({name.lower() for name in names})


def test_lists_are_the_same(both: Both) -> None:
    """Services, and the spans of each; the names that Zipkin gives lead to the backend's, too."""
    theirs, ours = both.ask("services")
    known = both.services & set(theirs)
    assert known <= set(lower(ours))
    assert len(known) > 20
    for service in sorted(known):
        theirs, ours = both.ask("spans", serviceName=service)
        assert lower(ours) == theirs, service


def test_traces_are_the_same(both: Both) -> None:
    """Every span of every trace, field by field, alone and several at once."""
    for trace_id in both.ids:
        theirs, ours = both.ask(f"trace/{trace_id}")
        assert in_order(ours) == in_order(theirs)
    theirs, ours = both.ask("traceMany", traceIds=",".join(both.ids))
    assert sorted(map(len, ours)) == sorted(map(len, theirs))


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"limit": "2"},
        {"annotationQuery": "error"},
        {"annotationQuery": "http.method=GET"},
        {"annotationQuery": "http.method=GET and error"},
        {"annotationQuery": "brave.flush"},
        {"minDuration": "100000"},
        {"minDuration": "1", "maxDuration": "2000"},
        {"serviceName": "auth"},
        {"serviceName": "coresrv", "spanName": "redirect"},
        {"serviceName": "mobile_api", "remoteServiceName": "memcache"},
        {"serviceName": "nobody"},
    ],
    ids=str,
)
def test_searches_find_the_same(both: Both, asked: dict[str, str]) -> None:
    """By every parameter, the same traces in the same order."""
    theirs, ours = both.ask("traces", **both.window, **asked)
    assert [trace[0]["traceId"] for trace in ours] == [trace[0]["traceId"] for trace in theirs]


def test_dependencies_agree_where_both_sides_sent_spans(both: Both) -> None:
    """Every call that Zipkin sees between two services that sent spans without a broker between them."""
    theirs, ours = both.ask("dependencies", **both.window)
    pairs = {(edge["parent"], edge["child"]) for edge in theirs}
    between = {pair for pair in pairs if pair[0] != pair[1] and set(pair) <= both.services}
    known = {(edge["parent"].lower(), edge["child"].lower()) for edge in ours}
    assert len(between & known) > 20
    assert between - known <= {("unknown", "yelp-main"), ("yelp-main", "mobile_api")}


@pytest.mark.parametrize("path", ["trace/xyz", "trace/" + "f" * 32, "traces?limit=0", "traceMany?traceIds=1", "spans"])
def test_refusals_have_the_same_status(both: Both, path: str) -> None:
    """What Zipkin refuses the backend refuses."""
    statuses = []
    for url in both.urls:
        try:
            with urllib.request.urlopen(f"{url}/api/v2/{path}", timeout=60) as answer:
                statuses.append(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                statuses.append(error.code)
    assert statuses[0] == statuses[1]
