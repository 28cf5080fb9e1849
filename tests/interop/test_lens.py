"""Zipkin's own web interface, Lens, in a browser in front of the backend's Zipkin API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.pages import Browse, seen, serving
from tests.support.backend import ask, running
from tests.support.recordings import files


class Lens:
    """Where Lens is, and the moments between which the recorded traces are, in milliseconds."""

    def __init__(self, url: str, spans: list[Any]) -> None:
        self.url = url
        times = [span["timestamp"] // 1_000 for span in spans if span.get("timestamp")]
        self.first, self.last = min(times) - 1_000, max(times) + 1_000


@pytest.fixture(scope="module")
def shown(lens: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lens]:
    """The backend with the recorded Zipkin traces, and Lens before it."""
    spans = [span for body in files("zipkin-*.json.gz").values() for span in json.loads(body)]
    with running(tmp_path_factory.mktemp("backend")) as backend:
        port = backend.settings.zipkin_port
        assert ask(port, "/api/v2/spans", json.dumps(spans).encode()).status == 202
        with serving(lens, port, prefix="/zipkin") as url:
            yield Lens(url, spans)


def test_a_search_finds_traces(shown: Lens, browse: Browse) -> None:
    """The list of traces: root, how many spans, how long."""
    url = f"{shown.url}/?lookback=range&startTs={shown.first}&endTs={shown.last}&limit=10"
    text = seen(browse, url, "coreSrv: get /login/tokenauth", "306.017s", "servicea: poll", "649.065ms")
    assert "routing: post /location/update/v4" in text


def test_a_trace_opens(shown: Lens, browse: Browse) -> None:
    """Its header, its waterfall, and the first span's details with annotations, tags and the broker."""
    text = seen(browse, f"{shown.url}/traces/0562809467078eab", "Total Spans 28", "Services 3", "Duration 649.065ms")
    assert text.count("serviceb: on-message") >= 2
    for one in ("Consumer Start", "kafka.topic messages", "Broker Address kafka"):
        assert one in text


def test_dependencies_are_drawn(shown: Lens, browse: Browse) -> None:
    """The graph is drawn where there are calls, and is not where there are none."""
    url = f"{shown.url}/dependency"
    assert "<canvas" in seen(browse, f"{url}?startTime={shown.first}&endTime={shown.last}", "<canvas", "Filter")
    assert "<canvas" not in seen(browse, f"{url}?startTime={shown.last + 10_000_000}&endTime={shown.last + 20_000_000}")
