"""The backend's Zipkin API against Zipkin's own server: both get the same traces and are asked the same.

What may differ, and is evened out here:

- Zipkin writes the names of services and spans in lower case, the backend as they were sent.
- The dependencies in `OWN_WAY`.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop.servers import Zipkin, get
from tests.support.backend import running
from tests.support.recordings import files

Json = Any
OWN_WAY: dict[tuple[str, str], tuple[int, int]] = {
    # A message counts once more from service to service, not only from and to its broker.
    ("servicea", "serviceb"): (1, 4),
    # Zipkin does not know that the host of a URL is called where the span does not say so.
    ("pusher", "archiver.st.internal"): (0, 1),
    # One trace has clients whose parents are of other services, under a call both of whose halves are again of others.
    # Zipkin counts such clients themselves, from the client's half; the backend each change of service between parent
    # and child, from the server's half.
    ("unknown", "yelp-main"): (5, 0),
    ("yelp_main/api_proxy", "yelp-main"): (0, 2),
    ("yelp-main", "mobile_api"): (2, 1),
    ("routing", "yelp-main"): (0, 1),
    ("routing", "unknown"): (0, 1),
}
"""Calls as Zipkin and as the backend count them."""


class Both:
    """Zipkin and the backend with the same spans."""

    def __init__(self, zipkin: str, backend: str, spans: list[Json]) -> None:
        self.urls = (zipkin, backend)
        self.spans = spans
        self.services = {span["localEndpoint"]["serviceName"].lower() for span in spans if "localEndpoint" in span}
        self.ids = sorted({span["traceId"] for span in spans})
        times = [span["timestamp"] // 1_000 for span in spans if span.get("timestamp")]
        self.window = {"endTs": str(max(times) + 1_000), "lookback": str(max(times) - min(times) + 2_000)}

    def ask(self, path: str, **query: str) -> tuple[Json, Json]:
        """The answers of both."""
        theirs, ours = (get(f"{url}/api/v2/{path}", **query) for url in self.urls)
        return theirs, ours


@pytest.fixture(scope="module")
def both(zipkin: Zipkin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Both servers with the recorded Zipkin traces."""
    spans = recent([span for body in files("zipkin-*.json.gz").values() for span in json.loads(body)])
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


def recent(spans: list[Json]) -> list[Json]:
    """The traces at times of the last day, ten minutes apart in their old order: some lists are of that day alone."""
    began: dict[str, int] = {}
    for span in spans:
        if at := span.get("timestamp"):
            began[span["traceId"]] = min(at, began.get(span["traceId"], at))
    now = time.time_ns() // 1_000
    order = sorted(began, key=lambda trace: began[trace])
    later = {trace: now - 600_000_000 * (len(order) - place) - began[trace] for place, trace in enumerate(order)}
    return [moved(span, later.get(span["traceId"], 0)) for span in spans]


def moved(span: Json, later: int) -> Json:
    """A span so many microseconds later."""
    found = {**span, "timestamp": span["timestamp"] + later} if span.get("timestamp") else span
    if "annotations" in span:
        found = {
            **found,
            "annotations": [{**one, "timestamp": one["timestamp"] + later} for one in span["annotations"]],
        }
    return found


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
    """Services, and the spans and other sides of each; the names that Zipkin gives lead to the backend's, too."""
    theirs, ours = both.ask("services")
    known = both.services & set(theirs)
    assert known <= set(lower(ours))
    assert len(known) > 20
    for service in sorted(known):
        theirs, ours = both.ask("spans", serviceName=service)
        assert lower(ours) == theirs, service
        theirs, ours = both.ask("remoteServices", serviceName=service)
        assert lower(ours) == theirs, service
    for path in ("spans", "remoteServices"):
        for nobody in ("nobody", ""):
            assert both.ask(path, serviceName=nobody) == ([], []), path
    for tag, value in (("http.method", "get"), ("no such", None)):
        _, ours = both.ask("autocompleteValues", key=tag)  # Zipkin's are those of tags that it was told
        assert value in lower(ours) if value else ours == []


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
        {"serviceName": ""},
        {"serviceName": "CORESRV", "spanName": "REDIRECT"},
        {"spanName": "all"},
        {"annotationQuery": "http.method=get"},
        {"annotationQuery": "error=true"},
        {"remoteServiceName": "memcache"},
    ],
    ids=str,
)
def test_searches_find_the_same(both: Both, asked: dict[str, str]) -> None:
    """By every parameter, the same traces in the same order."""
    theirs, ours = both.ask("traces", **both.window, **asked)
    assert [trace[0]["traceId"] for trace in ours] == [trace[0]["traceId"] for trace in theirs]


def test_dependencies_agree(both: Both) -> None:
    """Every call with its count and errors: also of a service to itself, to what sends no spans, through a broker."""
    theirs, ours = (calls(answer) for answer in both.ask("dependencies", **both.window))
    assert len(theirs) > 40
    nothing = (0, 0)
    differing = {
        pair: (theirs.get(pair, nothing)[0], ours.get(pair, nothing)[0])
        for pair in theirs.keys() | ours.keys()
        if theirs.get(pair) != ours.get(pair)
    }
    assert differing == OWN_WAY


def calls(edges: list[Json]) -> dict[tuple[str, str], tuple[int, int]]:
    """How many there were and how many failed, by who calls whom."""
    return {
        (one["parent"].lower(), one["child"].lower()): (one["callCount"], one.get("errorCount", 0)) for one in edges
    }


@pytest.mark.parametrize(
    "path",
    [
        *("trace/xyz", "trace/0", "trace/" + "f" * 32, "trace/" + "1" * 33, "spans", "remoteServices"),
        *(
            "traceMany",
            "traceMany?traceIds=",
            "traceMany?traceIds=1",
            "traceMany?traceIds=1,1",
            "traceMany?traceIds=1,",
        ),
        *("traceMany?traceIds=1,xyz", "autocompleteValues", "autocompleteValues?key="),
        *("traces?limit=0", "traces?limit=x", "traces?minDuration=0", "traces?maxDuration=5", "traces?endTs=-1"),
        *("traces?minDuration=5&maxDuration=4", "traces?lookback=0"),
        *("dependencies", "dependencies?endTs=", "dependencies?endTs=0", "dependencies?endTs=1&lookback=0"),
    ],
)
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
