"""The commands that ask a running backend: search, tail, services, stats; each also as JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kai_tracing_backend.access.tokens import Scope, TokenFile
from kai_tracing_backend.app import Backend
from kai_tracing_backend.cli.attributes import attributes
from kai_tracing_backend.cli.search import search
from kai_tracing_backend.cli.services import services
from kai_tracing_backend.cli.stats import stats
from kai_tracing_backend.cli.trace import trace
from kai_tracing_backend.testing.store_contract import batch, span

from tests.support.backend import ask, running

COMMAND = str(Path(sys.executable).with_name("kai-tracing"))
NOW = time.time_ns()
MS = 1_000_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A backend with 30 traces of two services, a second apart; every third has an error."""
    with running(tmp_path_factory.mktemp("shop")) as made:
        spans = []
        for number in range(1, 31):
            at, trace_id = NOW - number * 1_000 * MS, (number << 100) + 7
            spans.append(span(trace_id, 1, at=at, service="front", name=f"GET /{number}", kind=2, duration=number * MS))
            status = 2 if number % 3 == 0 else 0
            fields = {"name": "SELECT", "status": status, "duration": MS, "attributes": {"db.rows": number}}
            spans.append(span(trace_id, 2, 1, at=at + MS, service="store\x1b[31m", **fields))
        made.tenants.get().store.write(batch(*spans))
        yield made


def run(command: Any, backend: Backend, *arguments: str) -> Result:
    """The command, asking this backend."""
    url = f"http://127.0.0.1:{backend.settings.api_port}"
    try:
        runner = CliRunner(mix_stderr=False)
    except TypeError:  # since click 8.2 they are apart anyway
        runner = CliRunner()
    return runner.invoke(command, [*arguments, "--url", url], terminal_width=120)


def documents(result: Result) -> list[Any]:
    """The JSON documents that were written, one a line."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_search_lists_the_newest_first(shop: Backend) -> None:
    """A line for each trace, so many as the limit says, and how to have more; what senders say moves no cursor."""
    done = run(search, shop, "{ status = error }", "--limit", "4", "-v")
    assert done.exit_code == 0
    roots = [line for line in done.stdout.splitlines() if "front: GET" in line]
    assert [line.rpartition("/")[2].strip() for line in roots] == ["3", "6", "9", "12"]
    assert "store�[31m: SELECT" in done.stdout
    assert "--cursor" in done.stderr


def test_search_turns_pages(shop: Backend) -> None:
    """By the cursor that the page before ended with, or by itself where the limit is larger than a page."""
    first = run(search, shop, "--limit", "20", "--json")
    cursor = first.stderr.rpartition("--cursor ")[2].strip()
    rest = run(search, shop, "--limit", "20", "--json", "--cursor", cursor)
    names = [one["name"] for one in (*documents(first), *documents(rest))]
    assert names == [f"GET /{number}" for number in range(1, 31)]
    assert "--cursor" not in rest.stderr


def test_search_says_when_nothing_is_found_and_what_is_wrong(shop: Backend) -> None:
    """Where to look further; the column of a query's fault; the parameter of a bad time."""
    assert "--since 7d" in run(search, shop, '{ resource.service.name = "none" }', "--since", "1m").stderr
    everything = run(search, shop, '{ resource.service.name = "none" }', "--since", "2020-01-01T00:00:00Z").stderr
    assert "There are spans " in everything
    wrong = run(search, shop, "{ status = }")
    assert wrong.exit_code == 1
    assert "^" in wrong.stderr
    assert "start" in run(search, shop, "--since", "yesterday").stderr


def test_services_show_rate_errors_and_durations(shop: Backend) -> None:
    """By service and operation, the most frequent first, not more than asked for."""
    shown = run(services, shop, "--since", "2h", "--top", "3").stdout
    assert "… and 27 more" in shown
    assert "33.3%" in shown
    assert "\x1b" not in shown
    rates = documents(run(services, shop, "front", "--since", "2h", "--json"))
    assert sum(rate["spans"] for rate in rates) == 30
    assert "No spans of none" in run(services, shop, "none").stderr


def test_stats_show_store_receivers_and_queue(shop: Backend) -> None:
    """What the store has, and the process's own numbers."""
    ask(shop.settings.zipkin_port, "/api/v2/spans", b"[]")
    assert "spans of the last day  60, 10 of them errors" in run(stats, shop).stdout
    found = documents(run(stats, shop, "--json"))[0]
    assert found["store"]["services"] == 2
    assert found["receivers"]["zipkin"]["requests"] >= 1
    assert found["storeBytes"] > 0


def test_stats_do_without_the_numbers_that_the_token_is_not_for(tmp_path: Path) -> None:
    """With the scope `query` alone the store's are shown, and the missing scope is named."""
    _, text = TokenFile(tmp_path / "data" / "tokens.json").create("reader", {Scope.QUERY})
    with running(tmp_path) as backend:
        done = run(stats, backend, "--token", text)
        assert done.exit_code == 0
        assert "the scope metrics" in done.stderr
        assert "tenant" in done.stdout
        assert "TRACING_BACKEND_TOKEN" in run(stats, backend).stderr


def test_a_trace_is_found_by_the_beginning_of_its_id(shop: Backend) -> None:
    """And where several ids begin so, they are listed."""
    number = f"{(21 << 100) + 7:032x}"
    assert number in run(trace, shop, number[:8]).stdout
    several = run(trace, shop, "000001").stderr
    assert number in several
    assert "Error" in several


def test_tail_shows_traces_as_they_come(shop: Backend) -> None:
    """Only what comes after its start, each once, when it has stopped growing; Ctrl-C ends it with 0."""
    url = f"http://127.0.0.1:{shop.settings.api_port}"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # these tests run in the background, which children inherit
        signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [COMMAND, "tail", "{ .tail = true }", "--json", "--interval", "0.1", "--url", url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    stop = threading.Event()

    def send() -> None:
        number = 1 << 96
        while not stop.is_set():
            number += 1
            one = span(number, 1, at=time.time_ns(), name="live", attributes={"tail": True})
            shop.tenants.get().store.write(batch(one))
            stop.wait(0.2)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    finally:
        stop.set()
        sender.join()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors == ""
    seen = [line["traceId"] for line in (*lines, *map(json.loads, output.splitlines()))]
    assert len(set(seen)) == len(seen)
    assert {line["name"] for line in lines} == {"live"}


def test_attributes_and_their_values_to_choose_from(shop: Backend) -> None:
    """Keys with scope and type, values of one with how often they are there; of chosen spans, in pages."""
    found = run(attributes, shop)
    assert (found.exit_code, "resource.service.name" in found.output, "span.db.rows" in found.output) == (0, True, True)
    values = run(attributes, shop, "db.rows", "--where", "{ status = error && span.db.rows > 28 }")
    assert [line.split() for line in values.output.splitlines() if "int" in line] == [["30", "int", "1"]]
    assert documents(run(attributes, shop, "service.name", "--prefix", "fr", "--json")) == [
        {"value": {"stringValue": "front"}, "spans": 30}
    ]
    first = run(attributes, shop, "db.rows", "--limit", "20")
    cursor = first.stderr.rpartition("--cursor ")[2].strip()
    second = run(attributes, shop, "db.rows", "--limit", "20", "--cursor", cursor)
    assert (second.output.count(" int "), "There are more" in second.output) == (10, False)
    assert "\x1b[31m" not in run(attributes, shop, "service.name").output
    nothing = run(attributes, shop, "nobody")
    assert (nothing.exit_code, "--since 7d" in nothing.stderr) == (0, True)
    wrong = run(attributes, shop, "--where", "status = error")
    assert (wrong.exit_code, "where: " in wrong.stderr, "^" in wrong.stderr) == (1, True, True)
