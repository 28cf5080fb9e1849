"""Jaeger's own web interface in a browser in front of the backend's Jaeger API."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.pages import Browse, seen, serving
from tests.support.backend import ask, running
from tests.support.recordings import files

TRACE = "9793144898167c91535fa6390bb21981"
OTHER = "52c72ffa74fd7a39b78884075a65faf8"


class Ui:
    """Where the interface is, and the parameters of a search for the recorded traces: microseconds."""

    def __init__(self, url: str, traces: list[Any]) -> None:
        self.url = url
        times = [span["startTime"] for trace in traces for span in trace["spans"]]
        self.window = f"start={min(times) - 60_000_000}&end={max(times) + 60_000_000}&lookback=custom"


@pytest.fixture(scope="module")
def ui(jaeger_ui: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """The backend with a minute of a real shop, and Jaeger's interface before it."""
    (recorded,) = files("onlineboutique.otlp.jsonl.gz").values()
    with running(tmp_path_factory.mktemp("backend")) as backend:
        for request in moved(recorded).splitlines():
            assert ask(backend.settings.otlp_http_port, "/v1/traces", request).status == 200
        assert ask(backend.settings.zipkin_port, "/api/v2/spans", json.dumps(served()).encode()).status == 202
        found = ask(backend.settings.api_port, f"/api/traces?traceID={TRACE}").json["data"]
        with serving(jaeger_ui, backend.settings.api_port) as url:
            yield Ui(url, found)


def moved(recorded: bytes) -> bytes:
    """The recording as if it had ended now: the graph of dependencies is of the last days."""
    times = {int(one) for one in re.findall(rb'UnixNano": ?"(\d+)"', recorded)}
    later = time.time_ns() - max(times)
    return re.sub(rb'(UnixNano": ?)"(\d+)"', lambda one: b'%b"%d"' % (one[1], int(one[2]) + later), recorded)


def served() -> list[Any]:
    """Four calls of a server, one of which failed: the shop's spans say no kind, and the monitor is of servers."""
    began = time.time_ns() // 1_000 - 300_000_000
    said = {"kind": "SERVER", "name": "get /account", "duration": 25_000, "localEndpoint": {"serviceName": "account"}}
    spans: list[Any] = [{**said, "traceId": f"{n:032x}", "id": f"{n:016x}", "timestamp": began} for n in range(1, 5)]
    spans[0]["tags"] = {"error": "no such account"}
    return spans


def test_a_search_finds_traces(ui: Ui, browse: Browse) -> None:
    """Services and operations to choose from; each trace with its spans; by tag none."""
    text = seen(browse, f"{ui.url}/search?service=frontend&limit=20&{ui.window}", "20 Traces", "Service (11)")
    assert "Operation (11)" in text
    assert "productcatalogservice (" in text
    tags = "%7B%22app.user_id%22%3A%22nobody%22%7D"
    seen(browse, f"{ui.url}/search?service=frontend&tags={tags}&{ui.window}", "No trace results")


def test_a_trace_opens(ui: Ui, browse: Browse) -> None:
    """Its header and its timeline, and beside another trace."""
    text = seen(browse, f"{ui.url}/trace/{TRACE}", "Total Spans 50", "Services 6", "Depth 8", "Duration 119.37ms")
    assert "currencyservice hipstershop.CurrencyService/GetCurrencyData 59.24ms" in text
    seen(browse, f"{ui.url}/trace/{TRACE}...{OTHER}", TRACE[:7], OTHER[:7], "50", "48", "119.37ms", "64.59ms")


def test_a_trace_that_is_not_there_says_so(ui: Ui, browse: Browse) -> None:
    """The interface shows what the API answers."""
    seen(browse, f"{ui.url}/trace/{'f' * 32}", "trace not found")


def test_dependencies_are_drawn(ui: Ui, browse: Browse) -> None:
    """Every service of the shop is in the graph."""
    shop = ("ad", "cart", "checkout", "currency", "email", "payment", "productcatalog", "recommendation", "shipping")
    seen(browse, f"{ui.url}/dependencies", "frontend", *(f"{name}service" for name in shop))


def test_the_monitor_has_numbers(ui: Ui, browse: Browse) -> None:
    """The operations of a service with how long they take, how often they are called and how many fail."""
    text = seen(browse, f"{ui.url}/monitor", "Service account", "get /account", "req/s", "25%")
    assert "fetch data" not in text
    assert "No Data" not in text
