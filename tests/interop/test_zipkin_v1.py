"""Zipkin's version 1 in thrift, and spans without a time: its own server and the backend make the same of them."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.interop.servers import Zipkin, get
from tests.support.backend import running
from tests.support.recordings import files
from tests.support.zipkin_thrift import annotation, binary, endpoint, spans_of, v1

NOW = time.time_ns() // 1_000
FRONT = endpoint("front", "10.0.0.1", 40_000)
BACK = endpoint("back", None, 80, "2001:db8::1")
CALL = [("cs", 0, FRONT), ("sr", 2, BACK), ("ss", 5, BACK), ("cr", 9, FRONT)]


@pytest.fixture(scope="module")
def urls(zipkin: Zipkin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Where Zipkin is, and where the backend's port for it."""
    with running(tmp_path_factory.mktemp("backend")) as backend:
        yield zipkin.url, f"http://127.0.0.1:{backend.settings.zipkin_port}"


def send(url: str, path: str, body: bytes, kind: str) -> None:
    """A request that is taken."""
    request = urllib.request.Request(f"{url}{path}", body, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 202


def shown(url: str, trace: str, count: int) -> list[Any]:
    """The spans of a trace in one order, once there are `count` of them; the backend's name for no service is none."""
    deadline = time.monotonic() + 30
    while len(spans := get(f"{url}/api/v2/trace/{trace}") or []) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    for span in spans:
        local = span.get("localEndpoint", {})
        if local.get("serviceName") == "unknown_service":
            del local["serviceName"]
        if not local:
            span.pop("localEndpoint", None)
    return sorted(spans, key=lambda span: json.dumps(span, sort_keys=True))


@pytest.mark.parametrize(
    ("said", "tags", "fields"),
    [
        (CALL[::3], [binary("http.path", "/", host=FRONT), binary("sa", host=BACK)], {"timestamp": NOW, "duration": 9}),
        (CALL[::3], [], {}),
        (CALL[1:3], [binary("ca", host=FRONT)], {}),
        (CALL[1:3], [], {"timestamp": NOW, "duration": 7}),
        (CALL, [binary("x", "1", host=FRONT), binary("y", "2", host=BACK)], {"timestamp": NOW, "duration": 9}),
        (CALL, [], {}),
        (CALL[:1], [], {}),
        (CALL[2:3], [], {}),
        (CALL[3:], [], {}),
        ([("ms", 0, FRONT), ("ws", 4, FRONT)], [binary("ma", host=BACK)], {}),
        ([("wr", 0, FRONT), ("mr", 4, FRONT)], [], {}),
        ([("mr", 0, FRONT)], [], {"timestamp": NOW}),
        ([("ms", 0, FRONT), ("mr", 4, BACK)], [], {}),
        ([("cs", 0, None), ("cr", 4, None)], [], {}),
        ([("custom", 0, FRONT)], [], {}),
        ([], [binary("lc", "thing", host=FRONT)], {"timestamp": NOW, "duration": 4}),
        ([], [binary("lc", "", host=FRONT)], {"timestamp": NOW, "duration": 4}),
        ([], [binary("sa", host=BACK)], {"timestamp": NOW, "duration": 4}),
        ([], [binary("ca", host=BACK)], {"timestamp": NOW, "duration": 4}),
        ([], [binary("ca", host=FRONT), binary("sa", host=BACK)], {"timestamp": NOW, "duration": 4}),
        ([], [binary("sa", host=BACK), binary("ca", host=FRONT)], {"timestamp": NOW, "duration": 4}),
        (CALL[::3], [binary("error", "boom", host=FRONT)], {"parent": 1, "debug": True}),
        ([], [], {}),
    ],
)
def test_thrift_means_the_same(
    urls: tuple[str, str], said: Sequence[tuple[str, int, bytes | None]], tags: list[bytes], fields: dict[str, Any]
) -> None:
    """Every combination of core annotations, addresses and times: the same spans with the same fields."""
    trace = time.time_ns()
    annotations = [annotation(NOW + at, value, host) for value, at, host in said]
    body = spans_of(v1(trace, 2, annotations, tags, **fields))
    for url in urls:
        send(url, "/api/v1/spans", body, "application/x-thrift")
    theirs = shown(urls[0], f"{trace:016x}", 1)
    assert shown(urls[1], f"{trace:016x}", len(theirs)) == theirs


def test_spans_without_a_time_are_all_there(urls: tuple[str, str]) -> None:
    """A recorded trace of which some have none: every span as it was sent, from both."""
    ((_, body),) = files("zipkin-smartthings-*.json.gz").items()
    # A trace of this test's own: Zipkin's memory keeps what other tests sent of it, too.
    body = body.replace(json.loads(body)[0]["traceId"].encode(), f"{time.time_ns():016x}".encode())
    sent = json.loads(body)
    assert any("timestamp" not in span for span in sent)
    for url in urls:
        send(url, "/api/v2/spans", body, "application/json")
    theirs, ours = (shown(url, sent[0]["traceId"], len(sent)) for url in urls)
    assert len(theirs) == len(sent)
    untimed = [[span for span in spans if "timestamp" not in span] for spans in (ours, theirs)]
    assert untimed[0] == untimed[1]
