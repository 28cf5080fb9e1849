"""What Grafana's data sources for Jaeger, Tempo and Zipkin ask, word for word, and the types that they read it into.

Read off grafana/grafana, pkg/tsdb/{jaeger,tempo,zipkin} and public/app/plugins/datasource: its Go structs refuse a
number where they have a string, and its pages need the fields that are required here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest
from kai_tracing_backend.app import Backend
from kai_tracing_backend.model import SpanEvent, SpanLink
from kai_tracing_backend.testing.store_contract import batch, span
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from tests.support.backend import Answer, ask, running
from tests.support.otlp import NOW

TRACE = "0af7651916cd43dd8448eb211c80319c"
MISSING = "f" * 32
SECOND = 1_000_000_000
SECONDS = f"start={NOW // SECOND - 600}&end={NOW // SECOND + 600}"
TIMES = "query.start_time_min=2020-01-01T00:00:00.123456789+02:00&query.start_time_max=2100-01-01T00:00:00Z"
MICROSECONDS = f"start={NOW // 1_000 - 600_000_000}&end={NOW // 1_000 + 600_000_000}"

# The types: a dict names the fields that must be there, a list has items of one kind.
UINT32, INT = range(1 << 32), range(-(1 << 63), 1 << 63)
ANY = object()
JAEGER_TAG = {"key": str, "type": str, "value": ANY}
JAEGER_SPAN = {
    "traceID": str,
    "spanID": str,
    "operationName": str,
    "references": [{"refType": str, "traceID": str, "spanID": str}],
    "startTime": INT,
    "duration": INT,
    "tags": [JAEGER_TAG],
    "logs": [{"timestamp": INT, "fields": [JAEGER_TAG]}],
    "processID": str,
}
JAEGER_TRACE = {
    "traceID": str,
    "spans": [JAEGER_SPAN],
    "processes": {str: {"serviceName": str, "tags": [JAEGER_TAG]}},
}
JAEGER_NAMES = {"data": [str], "total": INT, "limit": INT, "offset": INT, "errors": None}
OTLP_ATTRIBUTE = {"key": str, "value": ANY}
OTLP_TRACES = {
    "resourceSpans": [
        {
            "resource": {"attributes": [OTLP_ATTRIBUTE]},
            "scopeSpans": [
                {
                    "scope": ANY,
                    "spans": [
                        {
                            "traceId": str,
                            "spanId": str,
                            "name": str,
                            "startTimeUnixNano": str,
                            "endTimeUnixNano": str,
                            "status": ANY,
                        }
                    ],
                }
            ],
        }
    ]
}
TEMPO_SET = {
    "matched": UINT32,
    "spans": [
        {"spanID": str, "name": str, "startTimeUnixNano": str, "durationNanos": str, "attributes": [OTLP_ATTRIBUTE]}
    ],
}
TEMPO_SEARCH = {
    "traces": [
        {
            "traceID": str,
            "rootServiceName": str,
            "rootTraceName": str,
            "startTimeUnixNano": str,
            "durationMs": UINT32,
            "spanSet": TEMPO_SET,
            "spanSets": [TEMPO_SET],
            "serviceStats": {str: {"spanCount": UINT32, "errorCount": UINT32}},
        }
    ]
}
ZIPKIN_SPAN = {
    "traceId": str,
    "id": str,
    "name": str,
    "timestamp": INT,
    "duration": INT,
    "localEndpoint": {"serviceName": str},
}


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A running backend with a call over two services, with an event, a link, and an attribute with a hard name."""
    trace = int(TRACE, 16)
    event, link = SpanEvent(NOW + 1, "sent", {"n": 1}), SpanLink(MISSING, "1" * 16)
    attributes = {"http.status_code": 500, "k8s/pod name": "a b"}
    with running(tmp_path_factory.mktemp("grafana")) as made:
        made.tenants.get().store.write(
            batch(
                span(trace, 1, at=NOW, service="shop/front", name="GET /cart", kind=2, duration=50_000_000),
                span(
                    *(trace, 2, 1),
                    at=NOW + 1,
                    service="shop/front",
                    name="call",
                    kind=3,
                    duration=40_000_000,
                    attributes=attributes,
                    events=[event],
                    links=[link],
                ),
                span(trace, 3, 2, at=NOW + 2, service="stock", name="query", kind=2, duration=30_000_000, status=2),
            )
        )
        yield made


def get(backend: Backend, path: str, **headers: str) -> Answer:
    """A request to the API's port, its path and query as they are."""
    return ask(backend.settings.api_port, path, **headers)


def fits(value: Any, shape: Any, place: str = "answer") -> None:
    """Fail where a value is not what a Go struct takes."""
    if isinstance(shape, list):
        assert isinstance(value, list), place
        for number, item in enumerate(value):
            fits(item, shape[0], f"{place}[{number}]")
    elif isinstance(shape, Mapping):
        assert isinstance(value, dict), place
        if str in shape:
            for key, item in value.items():
                fits(item, shape[str], f"{place}.{key}")
            return
        for key, inner in shape.items():
            assert key in value, f"{place} has no {key}"
            fits(value[key], inner, f"{place}.{key}")
    elif isinstance(shape, range):
        assert type(value) is int, f"{place}: {value!r}"
        assert value in shape, f"{place}: {value!r}"
    elif isinstance(shape, type):
        assert type(value) is shape, f"{place}: {value!r}"
    else:
        assert shape is ANY or value is shape, f"{place}: {value!r}"


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/api/services", JAEGER_NAMES),
        ("/api/services/shop/front/operations", JAEGER_NAMES),
        ("/api/services/shop%2Ffront/operations", JAEGER_NAMES),
        (
            "/api/traces?limit=20&maxDuration=1s&minDuration=1ms&operation=call&service=shop%2Ffront&tags="
            + quote('{"http.status_code":"500"}'),
            {"data": [JAEGER_TRACE]},
        ),
        (f"/api/traces?{MICROSECONDS}&limit=20&lookback=custom&service=stock", {"data": [JAEGER_TRACE]}),
        (f"/api/traces/{TRACE}", {"data": [JAEGER_TRACE]}),
        (f"/api/traces/{TRACE}?{MICROSECONDS}", {"data": [JAEGER_TRACE]}),
        (
            f"/api/dependencies?endTs={NOW // 1_000_000 + 60_000}&lookback=3600000",
            {"data": [{"parent": str, "child": str, "callCount": INT}]},
        ),
        ("/api/v3/services", {"services": [str]}),
        ("/api/v3/operations?service=shop%2Ffront", {"operations": [{"name": str, "spanKind": str}]}),
        (
            f"/api/v3/traces/{TRACE}?start_time=2020-01-01T00:00:00.123456789+02:00&end_time=2100-01-01T00:00:00Z",
            {"result": OTLP_TRACES},
        ),
        (
            f"/api/v3/traces?query.duration_min=1ms&query.operation_name=call&query.service_name=shop%2Ffront&{TIMES}",
            {"result": OTLP_TRACES},
        ),
    ],
    ids=lambda value: value.partition("?")[0] if isinstance(value, str) else "",
)
def test_its_jaeger_source(backend: Backend, path: str, shape: Any) -> None:
    """Services, operations, search, trace, and the node graph, in both versions of Jaeger's API; never empty."""
    answer = get(backend, path)
    assert answer.status == 200, answer.body
    fits(answer.json, shape)
    assert all(len(found) for key, found in answer.json.items() if key in shape and isinstance(found, (list, dict)))


@pytest.mark.parametrize("path", ["/api/traces", "/api/v3/traces"])
def test_its_jaeger_source_hears_of_a_missing_trace(backend: Backend, path: str) -> None:
    """Not 200: of an empty list it takes the first item without looking."""
    assert get(backend, f"{path}/{MISSING}").status == 404


def test_its_tempo_source_searches(backend: Backend) -> None:
    """TraceQL as its query builder writes it, with how many traces and spans, and the window."""
    for query in (
        '{resource.service.name="stock" && status=error}',
        "{span.http.status_code>=500} | select(resource.service.name, duration)",
        '{rootServiceName="shop/front" && duration>1ms}',
        '{nestedSetParent<0 && true && resource.service.name != ""}',
        "{}",
    ):
        answer = get(backend, f"/api/search?q={quote(query)}&limit=20&spss=3&{SECONDS}", Accept="application/json")
        assert answer.status == 200, (query, answer.body)
        fits(answer.json, TEMPO_SEARCH)
        assert [one["traceID"] for one in answer.json["traces"]] == [TRACE.lstrip("0")], query


def test_its_tempo_source_shows_a_trace(backend: Backend) -> None:
    """In protobuf, by the newer path and the older one."""
    for path in (f"/api/v2/traces/{TRACE}", f"/api/traces/{TRACE}"):
        answer = get(backend, f"{path}?{SECONDS}", Accept="application/protobuf")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/protobuf")
    found = TracesData.FromString(answer.body)
    assert sum(len(scope.spans) for of in found.resource_spans for scope in of.scope_spans) == 3
    assert get(backend, f"/api/v2/traces/{MISSING}", Accept="application/protobuf").status == 404


def test_its_tempo_source_completes(backend: Backend) -> None:
    """Names by scope with a limit, the values of a name with a slash, and the values that a query leaves."""
    assert get(backend, "/api/echo").body == b"echo"
    scopes = get(backend, f"/api/v2/search/tags?limit=5000&{SECONDS}").json
    fits(scopes, {"scopes": [{"name": str, "tags": [str]}]})
    assert {"span", "resource", "intrinsic"} <= {one["name"] for one in scopes["scopes"]}
    for tag, wanted in (("span.k8s/pod name", "a b"), ("resource.service.name", "shop/front"), ("status", "error")):
        query = quote("{resource.service.name=`shop/front`}".replace("`", '"'))
        answer = get(backend, f"/api/v2/search/tag/{quote(tag, safe='')}/values?limit=5000&q={query}&{SECONDS}")
        fits(answer.json, {"tagValues": [{"type": str, "value": str}]})
        assert wanted in [one["value"] for one in answer.json["tagValues"]], tag


@pytest.mark.parametrize("port", ["api_port", "zipkin_port"])
def test_its_zipkin_source(backend: Backend, port: str) -> None:
    """Services, span names, traces and one trace, on both ports; a missing trace is none."""
    number = getattr(backend.settings, port)
    window = f"endTs={NOW // 1_000_000 + 60_000}&lookback=3600000"
    for path, shape in (
        ("/api/v2/services", [str]),
        ("/api/v2/spans?serviceName=shop%2Ffront", [str]),
        (f"/api/v2/traces?serviceName=shop%2Ffront&spanName=call&{window}", [[ZIPKIN_SPAN]]),
        (f"/api/v2/trace/{TRACE}", [ZIPKIN_SPAN]),
    ):
        answer = ask(number, path)
        assert answer.status == 200, (path, answer.body)
        fits(answer.json, shape)
        assert answer.json, path
    assert ask(number, f"/api/v2/trace/{MISSING}").status == 404
