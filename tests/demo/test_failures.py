"""How the demo fails: each time with a message, and without a process left behind."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
from io import StringIO
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from kai_tracing_core.demo import backend, runner
from kai_tracing_core.demo.backend import BackendError, TraceBackend
from kai_tracing_core.demo.receiver import ReceivedSpan, SpanReceiver


def test_a_running_backend_that_stops_answering(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it refuses is an error with its words; one that does not end by itself is killed."""
    monkeypatch.setattr(backend, "_STOP_TIMEOUT", 0.2)
    with TraceBackend("opentelemetry") as running:
        assert running.settings["TRACING_TYPE"] == "opentelemetry"
        with pytest.raises(BackendError, match=r"answers 400: .*expected"):
            running.search("{ nonsense", 1)
        os.kill(running._process.pid, signal.SIGSTOP)
    assert running._process.returncode == -signal.SIGKILL


def test_a_backend_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few attempts, on other ports, its last words are the error."""
    ends = shutil.which("false")
    assert ends is not None
    monkeypatch.setattr(sys, "executable", ends)
    with pytest.raises(BackendError, match="does not start"), TraceBackend("zipkin"):
        pytest.fail("it started")


def run_without(names: str) -> subprocess.CompletedProcess[str]:
    """One request of the demo in a process of its own, in which some of the `runner`'s names find nothing."""
    hidden = f"from kai_tracing_core.demo import runner; runner.{names} = lambda *_: (); "
    return subprocess.run(
        [sys.executable, "-c", f"{hidden}raise SystemExit(runner.run(1))"],
        env={name: value for name, value in os.environ.items() if not name.startswith(("TRACING_", "OTEL_"))},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_without_the_backend() -> None:
    """Where `kai-tracing-backend` is not installed the spans come back to the terminal, as whole traces."""
    done = run_without("installed")
    assert done.returncode == 0, done.stderr
    assert "Its spans come back to this terminal." in done.stdout
    assert "└── GET /browse" in done.stdout


def test_without_a_provider() -> None:
    """Where no provider is installed that it can send with, it says what to install."""
    done = run_without("names")
    assert done.returncode == 1
    assert 'pip install "kai-tracing-core[zipkin]"' in done.stdout


def test_a_service_that_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, and those that had begun are ended."""
    monkeypatch.setattr(runner, "SERVICES", {"nobody": None})
    with pytest.raises(RuntimeError, match="nobody ended before it began"), runner._shop([]):
        pytest.fail("it began")


def test_a_service_that_says_nothing_at_its_end() -> None:
    """A service that died has no counts: that is a problem of its own."""
    problems: list[str] = []
    silent = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    runner._stop("cart", silent, problems)
    assert problems == ["cart did not end by itself"]


def test_a_request_that_fails() -> None:
    """It is shown with the reason, and counts as a problem."""
    shown, problems = StringIO(), list[str]()
    journey = runner.JOURNEYS[0]
    runner._walk(journey, "http://127.0.0.1:9", Console(file=shown, width=160), problems)
    assert len(problems) == 1
    assert f"{journey.name} failed: " in problems[0]
    assert "failed: " in shown.getvalue()


def test_the_receiver_keeps_so_many_traces() -> None:
    """The oldest ones make room."""
    with SpanReceiver() as receiver:
        spans = [ReceivedSpan(f"{number:032x}", "1", None, "a", "b", None, 0, 1, {}) for number in range(1, 2001)]
        receiver.add(spans)
        assert receiver.wait(spans[-1].trace_id, bool, 10) == spans[-1:]
        assert receiver.wait(spans[0].trace_id, bool, 0) == []


def test_the_receiver_takes_no_body_that_is_too_long() -> None:
    """It is refused by its length, before it is read."""
    with SpanReceiver() as receiver:
        connection = http.client.HTTPConnection(urlsplit(receiver.endpoint).netloc, timeout=30)
        connection.putrequest("POST", "/api/v2/spans")
        connection.putheader("Content-Length", str(10**12))
        connection.endheaders()
        assert connection.getresponse().status == 400
        connection.close()
