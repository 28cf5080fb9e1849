"""The query APIs of Zipkin, Jaeger and Tempo, asked as their clients do; `make interop` compares with the originals."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from kai_tracing_backend.app import Backend
from kai_tracing_backend.testing.store_contract import batch, span
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from tests.support.backend import Answer, ask, running

MINUTE = 60_000_000_000
NOW = time.time_ns() // MINUTE * MINUTE - 10 * MINUTE
TRACE = "0af7651916cd43dd8448eb211c80319c"
SHORT = "00000000000000000000000000abcdef"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A running backend with a call over two services that failed, and a trace with a short id a minute later."""
    with running(tmp_path_factory.mktemp("apis")) as made:
        trace = int(TRACE, 16)
        made.tenants.get().store.write(
            batch(
                span(trace, 1, at=NOW, service="Shop", name="GET /cart", kind=2, duration=50_000_000),
                span(
                    trace,
                    2,
                    1,
                    at=NOW + 1_000_000,
                    service="Shop",
                    name="call",
                    kind=3,
                    duration=40_000_000,
                    attributes={"http.status_code": 500, "peer.service": "stock", "cached": False, "note": "a b"},
                ),
                span(trace, 3, 2, at=NOW + 2_000_000, service="stock", name="query", kind=2, status=2),
                span(int(SHORT, 16), 1, at=NOW + MINUTE, service="stock", name="", kind=0, duration=500),
            )
        )
        yield made


def get(backend: Backend, path: str, headers: dict[str, str] | None = None, **parameters: Any) -> Answer:
    """A request to the API's port."""
    query = f"?{urlencode(parameters, doseq=True)}" if parameters else ""
    return ask(backend.settings.api_port, f"{path}{query}", **(headers or {}))


# -- Zipkin ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, [SHORT, TRACE]),
        ({"limit": 1}, [SHORT]),
        ({"serviceName": "shop"}, [TRACE]),
        ({"serviceName": "shop", "spanName": "query"}, []),
        ({"serviceName": "stock", "spanName": "query"}, [TRACE]),
        ({"serviceName": "stock", "spanName": "QUERY"}, [TRACE]),
        ({"serviceName": ""}, [SHORT, TRACE]),
        ({"serviceName": "stock", "spanName": "all"}, [SHORT, TRACE]),
        ({"serviceName": "nobody"}, []),
        ({"remoteServiceName": "stock"}, [TRACE]),
        ({"annotationQuery": "error"}, [TRACE]),
        ({"annotationQuery": "error", "serviceName": "shop"}, []),
        ({"annotationQuery": "http.status_code=500 and cached=false"}, [TRACE]),
        ({"annotationQuery": "http.status_code=500 and error"}, [TRACE]),
        ({"annotationQuery": "http.status_code"}, [TRACE]),
        ({"annotationQuery": "http.status_code=404"}, []),
        ({"annotationQuery": "note=a b"}, [TRACE]),
        ({"minDuration": 45_000}, [TRACE]),
        ({"minDuration": 45_000, "maxDuration": 49_999}, []),
        ({"minDuration": 45_000, "serviceName": "stock"}, []),
        ({"lookback": 1_000}, []),
        ({"endTs": NOW // 1_000_000, "lookback": 1_000}, [TRACE]),
    ],
)
def test_zipkin_searches(backend: Backend, asked: dict[str, Any], found: list[str]) -> None:
    """Every parameter; conditions may be fulfilled by different spans, but by those of the service."""
    answer = get(backend, "/api/v2/traces", **asked)
    assert [one[0]["traceId"].rjust(32, "0") for one in answer.json] == found


def test_zipkin_lists_and_traces(backend: Backend) -> None:
    """Services, spans, remote services, a trace, several, dependencies; at the root, under /zipkin, and on 9411."""
    for port in (backend.settings.api_port, backend.settings.zipkin_port):
        for prefix in ("/api/v2/", "/zipkin/api/v2/"):
            assert ask(port, f"{prefix}services").json == ["Shop", "stock"]
        assert ask(port, "/api/v2/spans?serviceName=shop").json == ["GET /cart", "call"]
        assert ask(port, "/api/v2/spans?serviceName=stock").json == ["query"]
        assert ask(port, "/api/v2/remoteServices?serviceName=shop").json == ["stock"]
        assert [one["id"][-1] for one in ask(port, f"/api/v2/trace/{TRACE}").json] == ["1", "2", "3"]
        (short,) = ask(port, "/api/v2/trace/abcdef").json
        assert (short["traceId"], short["duration"], short.get("kind")) == ("0000000000abcdef", 1, None)
        several = ask(port, f"/api/v2/traceMany?traceIds={TRACE},abcdef,99").json
        assert [len(one) for one in several] == [3, 1]
        edges = ask(port, f"/api/v2/dependencies?endTs={time.time_ns() // 1_000_000}&lookback=3600000").json
        assert edges == [{"parent": "Shop", "child": "stock", "callCount": 1, "errorCount": 1}]
        assert ask(port, "/zipkin/config.json").json["searchEnabled"] is True
        assert ask(port, "/health").json["status"] == "UP"
        assert "version" in ask(port, "/info").json["zipkin"]


def test_zipkin_completes(backend: Backend) -> None:
    """Keys of tags, and the values of one as text."""
    assert get(backend, "/api/v2/autocompleteKeys").json == ["cached", "http.status_code", "note"]
    assert get(backend, "/api/v2/autocompleteValues", key="http.status_code").json == ["500"]
    assert get(backend, "/api/v2/autocompleteValues", key="cached").json == ["false"]
    assert get(backend, "/api/v2/autocompleteValues").status == 400


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("trace/xyz", 400, "hexadecimal"),
        (f"trace/{'f' * 32}", 404, "not found"),
        ("traceMany?traceIds=", 400, "traceIds"),
        ("traceMany?traceIds=1", 400, "one trace only"),
        ("traceMany?traceIds=1,01", 400, "twice"),
        ("traces?limit=0", 400, "limit"),
        ("traces?lookback=x", 400, "lookback"),
        ("traces?maxDuration=5", 400, "minDuration"),
        ("traces?minDuration=5&maxDuration=4", 400, "maxDuration"),
        ("dependencies", 400, "endTs"),
        ("spans", 400, "serviceName"),
    ],
)
def test_zipkin_refuses_in_plain_text(backend: Backend, path: str, status: int, said: str) -> None:
    """With what is wrong."""
    answer = get(backend, f"/api/v2/{path}")
    assert (answer.status, answer.headers["Content-Type"]) == (status, "text/plain; charset=utf-8")
    assert said in answer.body.decode()


# -- Jaeger ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"service": "stock"}, [SHORT, TRACE]),
        ({"service": "stock", "limit": 1}, [SHORT]),
        ({"service": "stock", "limit": 0}, []),
        ({"service": "Shop", "operation": "call"}, [TRACE]),
        ({"service": "Shop", "operation": "query"}, []),
        ({"service": "stock", "tags": '{"error":"true"}'}, [TRACE]),
        ({"service": "Shop", "tags": '{"error":"true"}'}, []),
        ({"service": "Shop", "tags": '{"http.status_code":"500","span.kind":"client"}'}, [TRACE]),
        ({"service": "Shop", "tag": ["http.status_code:500", "note:a b"]}, [TRACE]),
        ({"service": "Shop", "tag": "http.status_code:404"}, []),
        ({"service": "Shop", "minDuration": "45ms"}, [TRACE]),
        ({"service": "Shop", "minDuration": "45ms", "maxDuration": "49ms"}, []),
        ({"service": "Shop", "end": NOW // 1_000 - 1}, []),
        ({"service": "Shop", "start": NOW // 1_000, "end": NOW // 1_000}, [TRACE]),
        ({"traceID": ["abcdef", TRACE]}, [SHORT, TRACE]),
    ],
)
def test_jaeger_searches(backend: Backend, asked: dict[str, Any], found: list[str]) -> None:
    """Every parameter; all conditions on one span."""
    answer = get(backend, "/api/traces", **asked).json
    assert [one["traceID"] for one in answer["data"]] == found
    assert {name: answer[name] for name in ("total", "limit", "offset", "errors")} == {
        "total": 0,
        "limit": 0,
        "offset": 0,
        "errors": None,
    }


def test_jaeger_lists_and_traces(backend: Backend) -> None:
    """Services, operations in both forms, a trace with its processes, dependencies; a missing trace is named."""
    assert get(backend, "/api/services").json == {
        "data": ["Shop", "stock"],
        "total": 2,
        "limit": 0,
        "offset": 0,
        "errors": None,
    }
    assert get(backend, "/api/services/Shop/operations").json["data"] == ["GET /cart", "call"]
    assert get(backend, "/api/operations", service="Shop").json["data"] == [
        {"name": "GET /cart", "spanKind": "server"},
        {"name": "call", "spanKind": "client"},
    ]
    assert [one["name"] for one in get(backend, "/api/operations", service="Shop", spanKind="client").json["data"]] == [
        "call"
    ]
    (trace,) = get(backend, f"/api/traces/{TRACE}").json["data"]
    services = [trace["processes"][one["processID"]]["serviceName"] for one in trace["spans"]]
    assert services == ["Shop", "Shop", "stock"]
    now = time.time_ns() // 1_000_000
    edges = [{"parent": "Shop", "child": "stock", "callCount": 1}]
    assert get(backend, "/api/dependencies", endTs=now, lookback=3_600_000).json["data"] == edges
    assert get(backend, "/api/dependencies", endTs=now, lookback=3_600_000, service="x").json["data"] == []
    partly = get(backend, "/api/traces", traceID=["f" * 32, TRACE]).json
    assert len(partly["data"]) == 1
    assert partly["errors"][0]["traceID"] == "f" * 32


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("traces/xyz", 400, "hexadecimal"),
        (f"traces/{'f' * 32}", 404, "trace not found"),
        ("traces", 400, "service"),
        ("traces?service=a&minDuration=5", 400, "minDuration"),
        ("traces?service=a&minDuration=5s&maxDuration=4s", 400, "maxDuration"),
        ("traces?service=a&tags=x", 400, "tags"),
        ("traces?service=a&tags=%7B%22a%22%3A5%7D", 400, "strings"),
        ("traces?service=a&tag=x", 400, "key:value"),
        ("traces?service=a&limit=many", 400, "limit"),
        ("operations", 400, "service"),
        ("operations?service=a&spanKind=odd", 400, "spanKind"),
        ("dependencies?endTs=x", 400, "endTs"),
    ],
)
def test_jaeger_refuses_in_its_envelope(backend: Backend, path: str, status: int, said: str) -> None:
    """`errors` with code and message, no data."""
    answer = get(backend, f"/api/{path}")
    (error,) = answer.json["errors"]
    assert (answer.status, answer.json["data"], error["code"]) == (status, None, status)
    assert said in error["msg"]


def rfc3339(moment: int) -> str:
    """The moment as Jaeger's interface says it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment // 1_000_000_000))


@pytest.mark.parametrize("camel", [True, False])
def test_jaeger_v3(backend: Backend, camel: bool) -> None:
    """Services, operations, a trace and a search as OTLP, summaries; both spellings of parameters."""
    names = {
        "service": "query.serviceName",
        "operation": "query.operationName",
        "start": "query.startTimeMin",
        "end": "query.startTimeMax",
        "depth": "query.searchDepth",
        "shortest": "query.durationMin",
        "attributes": "query.attributes",
    }
    if not camel:
        names = {key: "".join(f"_{c.lower()}" if c.isupper() else c for c in name) for key, name in names.items()}

    def asked(**values: Any) -> dict[str, Any]:
        times = {"start": rfc3339(NOW - MINUTE), "end": rfc3339(NOW + 5 * MINUTE)}
        return {names[key]: value for key, value in {**times, **values}.items()}

    assert get(backend, "/api/v3/services").json == {"services": ["Shop", "stock"]}
    kind = {"spanKind" if camel else "span_kind": "client"}
    assert get(backend, "/api/v3/operations", service="Shop", **kind).json == {
        "operations": [{"name": "call", "spanKind": "client"}]
    }
    whole = get(backend, f"/api/v3/traces/{TRACE}").json["result"]["resourceSpans"]
    assert sum(len(of["spans"]) for one in whole for of in one["scopeSpans"]) == 3
    path = "/api/v3/trace-summaries"
    found = get(backend, path, **asked(attributes='{"http.status_code":"500"}', shortest="10ms")).json["summaries"]
    assert found == [
        {
            "traceId": TRACE,
            "rootServiceName": "Shop",
            "rootOperationName": "GET /cart",
            "minStartTimeUnixNano": str(NOW),
            "maxEndTimeUnixNano": str(NOW + 50_000_000),
            "spanCount": 3,
            "errorSpanCount": 1,
            "services": [
                {"name": "Shop", "spanCount": 2, "errorSpanCount": 0},
                {"name": "stock", "spanCount": 1, "errorSpanCount": 1},
            ],
        }
    ]
    assert len(get(backend, path, **asked(depth=1)).json["summaries"]) == 1
    assert get(backend, path, **asked(service="nobody")).json == {"summaries": []}
    one = get(backend, "/api/v3/traces", **asked(service="Shop", operation="call")).json["result"]
    assert {span["traceId"] for of in one["resourceSpans"] for s in of["scopeSpans"] for span in s["spans"]} == {TRACE}
    missing = get(backend, "/api/v3/traces", **asked(service="nobody"))
    assert (missing.status, missing.json["error"]["httpCode"]) == (404, 404)
    for wrong in (asked(start="yesterday"), asked(depth="x"), asked(attributes="x"), {}, asked(end=rfc3339(0))):
        refused = get(backend, "/api/v3/traces", **wrong)
        assert (refused.status, refused.json["error"]["httpCode"]) == (400, 400)


def test_jaeger_v3_takes_a_plus_that_was_not_escaped(backend: Backend) -> None:
    """As a zone's sign in an address, where it arrives as a space; a real `-` is one."""
    zone = {"start": "+02:00", "end": "-03:30"}
    said = {"start": "1999-12-31T23:30:00.5", "end": "2099-12-31T23:30:00"}
    query = "&".join(
        f"query.startTime{last}={said[key]}{zone[key]}" for key, last in (("start", "Min"), ("end", "Max"))
    )
    answer = ask(backend.settings.api_port, f"/api/v3/trace-summaries?{query}")
    assert answer.status == 200
    assert TRACE in [one["traceId"] for one in answer.json["summaries"]]
    wrong = ask(backend.settings.api_port, f"/api/v3/trace-summaries?{query.replace('+02', '*02')}")
    assert wrong.status == 400


# -- Tempo -------------------------------------------------------------------------------------------------------------

PROTOBUF = {"Accept": "application/protobuf"}


def test_tempo_traces(backend: Backend) -> None:
    """In protobuf and in its JSON; `/api/traces/{id}` is Tempo's for who accepts protobuf, else Jaeger's."""
    first = TracesData.FromString(get(backend, f"/api/traces/{TRACE}", PROTOBUF).body)
    spans = [span for of in first.resource_spans for scope in of.scope_spans for span in scope.spans]
    assert [one.trace_id.hex() for one in spans] == [TRACE] * 3
    second = get(backend, f"/api/v2/traces/{TRACE}", PROTOBUF)
    assert second.headers["Content-Type"] == "application/protobuf"
    assert second.body.endswith(first.SerializeToString())
    assert second.body[0] == 0x0A
    document = get(backend, f"/api/v2/traces/{TRACE}").json["trace"]
    assert len(document["resourceSpans"]) == 2
    assert get(backend, f"/api/v2/traces/{'f' * 32}", PROTOBUF).status == 404
    assert "data" in get(backend, f"/api/traces/{TRACE}").json


def test_tempo_searches(backend: Backend) -> None:
    """By TraceQL and by tags with durations; what was found as Grafana draws it; the last hour unless said."""
    (found,) = get(backend, "/api/search", q="{ span.http.status_code = 500 }").json["traces"]
    assert (found["traceID"], found["rootServiceName"], found["rootTraceName"], found["durationMs"]) == (
        TRACE.lstrip("0"),
        "Shop",
        "GET /cart",
        50,
    )
    assert found["spanSets"][0]["matched"] == 1
    (matched,) = found["spanSets"][0]["spans"]
    assert (matched["name"], matched["durationNanos"]) == ("call", "40000000")
    assert found["serviceStats"]["stock"] == {"spanCount": 1, "errorCount": 1}
    tags = {"tags": 'http.status_code=500 note="a b"', "minDuration": "1ms"}
    assert [one["traceID"] for one in get(backend, "/api/search", **tags).json["traces"]] == [TRACE.lstrip("0")]
    assert get(backend, "/api/search", tags="note=x").json["traces"] == []
    assert len(get(backend, "/api/search", limit=1).json["traces"]) == 1
    seconds = NOW // 1_000_000_000
    assert get(backend, "/api/search", start=seconds - 100, end=seconds - 50).json["traces"] == []
    for wrong in ({"q": "{"}, {"tags": "=5"}, {"tags": "a=1 a=2"}, {"q": "{}", "tags": "a=1"}, {"limit": 0}):
        assert get(backend, "/api/search", **wrong).status == 400
    assert get(backend, "/api/echo").body == b"echo"
    assert json.loads(get(backend, "/api/status/buildinfo").body)["version"]


def test_tempo_completes(backend: Backend) -> None:
    """Tags by scope, and their values with types, as Grafana's query editor asks."""
    scopes = {one["name"]: one["tags"] for one in get(backend, "/api/v2/search/tags").json["scopes"]}
    assert "http.status_code" in scopes["span"]
    assert scopes["resource"] == ["service.name"]
    assert "rootServiceName" in scopes["intrinsic"]
    (only,) = get(backend, "/api/v2/search/tags", scope="resource").json["scopes"]
    assert only["name"] == "resource"
    stock = {"q": '{ resource.service.name = "stock" }', "scope": "span"}
    assert "note" not in str(get(backend, "/api/v2/search/tags", **stock).json["scopes"])
    assert "note" in str(get(backend, "/api/v2/search/tags", q="{ .half-typed = ", scope="span").json["scopes"])
    of_stock = get(backend, "/api/v2/search/tag/resource.service.name/values", **stock).json["tagValues"]
    assert [one["value"] for one in of_stock] == ["stock"]
    assert "note" in get(backend, "/api/search/tags").json["tagNames"]

    def values(tag: str) -> list[tuple[str, str]]:
        found = get(backend, f"/api/v2/search/tag/{tag}/values").json["tagValues"]
        return sorted((one["type"], one["value"]) for one in found)

    services = [("string", "Shop"), ("string", "stock")]
    assert values("resource.service.name") == values(".service.name") == values("rootServiceName") == services
    assert values("span.http.status_code") == [("int", "500")]
    assert ("string", "GET /cart") in values("name")
    assert ("keyword", "error") in values("status")
    assert get(backend, "/api/search/tag/service.name/values").json["tagValues"] == ["Shop", "stock"]


# -- Jaeger's and Tempo's metrics --------------------------------------------------------------------------------------


def series(backend: Backend, kind: str, **parameters: Any) -> tuple[str, dict[tuple[str, ...], list[float]]]:
    """What a metric of Jaeger's is called, and its values by its labels, for the minutes in which traces are."""
    window = {"endTs": (NOW + 2 * MINUTE) // 1_000_000, "lookback": 600_000, "step": 60_000}
    answer = get(backend, f"/api/metrics/{kind}", **{**window, **parameters})
    assert answer.status == 200, answer.body
    assert answer.json["type"] == "GAUGE"
    found = {
        tuple(label["value"] for label in one["labels"]): [
            point["gaugeValue"]["doubleValue"] for point in one["metricPoints"]
        ]
        for one in answer.json["metrics"]
    }
    return answer.json["name"], found


def test_jaeger_metrics_are_those_of_the_sketches(backend: Backend) -> None:
    """Of servers unless another kind is asked for; by service or operation; milliseconds, and shares that failed."""
    both = {"service": ["Shop", "stock"]}
    assert series(backend, "calls", **both) == ("service_call_rate", {("Shop",): [1 / 60], ("stock",): [1 / 60]})
    assert series(backend, "errors", **both) == ("service_error_rate", {("Shop",): [0.0], ("stock",): [1.0]})
    name, found = series(backend, "latencies", quantile=0.95, groupByOperation="true", service="Shop")
    assert (name, list(found)) == ("service_operation_latencies", [("Shop", "GET /cart")])
    assert found["Shop", "GET /cart"] == [pytest.approx(50, rel=0.01)]
    kinds = {"service": "Shop", "spanKind": ["client", "server"]}
    assert series(backend, "calls", **kinds)[1] == {("Shop",): [2 / 60]}
    assert series(backend, "calls", service="stock", spanKind="unspecified")[1] == {("stock",): [1 / 60]}
    assert series(backend, "calls", service="nobody")[1] == {}
    (points,) = series(backend, "calls", service="Shop", lookback=30 * 86_400_000)[1].values()
    assert points == [1 / (30 * 86_400 / 120)]  # longer steps, where these would be too many
    assert get(backend, "/api/metrics/minstep").json["data"] == 60_000


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("calls", "service: is required"),
        ("latencies?service=a", "quantile: '' is no number"),
        ("latencies?service=a&quantile=nan", "quantile: is not between"),
        ("errors?service=a&spanKind=x", "spanKind: 'x' is none of"),
        ("errors?service=a&groupByOperation=x", "groupByOperation: 'x' is neither"),
        ("errors?service=a&endTs=-1", "endTs: -1 is not between"),
    ],
)
def test_what_is_wrong_with_a_metric_is_named(backend: Backend, asked: str, said: str) -> None:
    """In Jaeger's words: 400, and the parameter."""
    answer = get(backend, f"/api/metrics/{asked}")
    assert answer.status == 400
    assert said in answer.json["errors"][0]["msg"]


@pytest.mark.parametrize("path", ["query_range", "query"])
def test_tempos_metrics_are_said_not_to_be_there(backend: Backend, path: str) -> None:
    """501 with what there is instead, which Grafana shows."""
    answer = get(backend, f"/api/metrics/{path}", q="{ } | rate()", start=1, end=2)
    assert (answer.status, b"/api/v1/rates" in answer.body) == (501, True)


# -- all of them -------------------------------------------------------------------------------------------------------


def test_a_span_says_how_many_it_stands_for(tmp_path: Path) -> None:
    """Where its trace state does not, an attribute or tag does, in the words of everyone; one alone says none."""
    trace = (1 << 128) - 1
    with running(tmp_path) as backend:
        kept = span(trace, 1, at=NOW, adjusted_count=4.0)
        sampled = span(trace, 2, 1, at=NOW, adjusted_count=2.0, trace_state="ot=th:8")
        backend.tenants.get().store.write(batch(kept, sampled, span(trace, 3, 1, at=NOW)))
        zipkin = get(backend, f"/api/v2/trace/{trace:x}").json
        jaeger = get(backend, f"/api/traces/{trace:x}").json["data"][0]["spans"]
        v3 = get(backend, f"/api/v3/traces/{trace:x}").json["result"]
        tempo = TracesData.FromString(get(backend, f"/api/traces/{trace:x}", {"Accept": "application/protobuf"}).body)
    name = "sampling.adjusted_count"
    assert [one.get("tags", {}).get(name) for one in zipkin] == ["4.0", "2.0", None]
    assert [{tag["key"]: tag["value"] for tag in one["tags"]}.get(name) for one in jaeger] == [4.0, None, None]
    (of_resource,) = v3["resourceSpans"]
    (of_scope,) = of_resource["scopeSpans"]
    assert [[one["key"] for one in found.get("attributes", ())] for found in of_scope["spans"]] == [[name], [], []]
    in_tempo = tempo.resource_spans[0].scope_spans[0].spans
    assert [[one.value.double_value for one in found.attributes] for found in in_tempo] == [[4.0], [], []]
