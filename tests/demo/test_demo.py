"""The demo as users run it: `kai-tracing demo`, with real processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from kai_tracing_core.cli import main; main()", "demo"]
SECONDS = 90


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment without settings, and with a mark by which this demo's processes are known."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TRACING_", "OTEL_", "CI"))}
    return {**clean, "DEMO_TEST": str(tmp_path), "PYTHONUNBUFFERED": "1"}


def processes(environment: dict[str, str]) -> list[int]:
    """The ids of the processes that carry the environment's mark."""
    mark = f"DEMO_TEST={environment['DEMO_TEST']}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:  # it has ended in the meantime
            continue
    return found


def wait_until_gone(environment: dict[str, str]) -> bool:
    """Whether all processes of the demo end within a while."""
    deadline = time.monotonic() + 30
    while processes(environment) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not processes(environment)


@pytest.fixture
def watched(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The demo in a terminal, with the terminal's other end."""
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(COMMAND, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    yield process, ours
    process.kill()
    process.wait()
    os.close(ours)


def read_until(terminal: int, text: bytes) -> bytes:
    """What the terminal shows, up to `text` or its end."""
    shown = b""
    while text not in shown:
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # the last process of the terminal has ended
            break
    return shown


def run(environment: dict[str, str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end, with nobody watching."""
    return subprocess.run(
        COMMAND, env={**environment, **variables}, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_unwatched_it_shows_whole_traces_and_ends(environment: dict[str, str]) -> None:
    """A fixed number of requests, each a tree over several services with the error in it, and exit code 0.

    They go to a trace backend, of which a search at the end must find each; it says what else to ask.
    """
    done = run(environment, CI="true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert done.stdout.count("── GET /browse") == 4
    assert done.stdout.count("── POST /buy") == 4
    assert "ConnectionError: the bank does not answer" in done.stdout
    assert "no span was lost" in done.stdout
    assert re.search(r"trace backend at http://127\.0\.0\.1:\d+", done.stdout)
    for command in ("tail", "search", "services", "trace"):
        assert f"kai-tracing {command}" in done.stdout
    assert not processes(environment)


def test_the_backend_is_there_while_the_demo_is(
    watched: tuple[subprocess.Popen[bytes], int], environment: dict[str, str]
) -> None:
    """The commands that it names work in another terminal, and what they ask ends with the demo."""
    process, terminal = watched
    shown = read_until(terminal, b"fill the cart: answered")
    found = re.search(rb"http://127\.0\.0\.1:\d+(?=\. In)", shown)
    assert found is not None, shown
    command = [*COMMAND[:-1], "search", "--url", found[0].decode()]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    assert "shopper: browse" in asked.stdout
    process.send_signal(signal.SIGINT)
    read_until(terminal, b"To see them")
    assert process.wait(30) == 0
    assert wait_until_gone(environment)


def test_the_users_own_settings_do_not_reach_the_default(environment: dict[str, str]) -> None:
    """Without TRACING_TYPE, a sampler or a switched-off SDK in the environment does not empty the traces."""
    done = run(environment, TRACING_SAMPLER="always_off", TRACING_ENABLED="false", OTEL_SDK_DISABLED="true")
    assert done.returncode == 0, done.stdout + done.stderr


def test_another_provider_is_told_where_to_look(environment: dict[str, str]) -> None:
    """With TRACING_TYPE the spans go there: no trees here."""
    done = run(environment, TRACING_TYPE="inmemory")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Its spans go to TRACING_TYPE=inmemory" in done.stdout
    assert "──" not in done.stdout


def test_spans_that_did_not_arrive_are_an_error(environment: dict[str, str]) -> None:
    """Where nobody listens, every service says how many spans it lost and why, and the exit code is 1."""
    done = run(environment, TRACING_TYPE="zipkin", TRACING_ZIPKIN__ENDPOINT="http://127.0.0.1:9/api/v2/spans")
    assert done.returncode == 1
    for service in ("shopper", "gateway", "catalog", "cart", "checkout", "payment"):
        assert f"{service} could not deliver" in done.stdout
    assert not processes(environment)


def test_a_provider_that_is_not_installed_is_a_message(environment: dict[str, str]) -> None:
    """A wrong TRACING_TYPE ends it before anything is started."""
    done = run(environment, TRACING_TYPE="zipkn")
    assert done.returncode == 1
    assert "zipkin" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_closes_the_shop(watched: tuple[subprocess.Popen[bytes], int], environment: dict[str, str]) -> None:
    """In a terminal it goes on until Ctrl-C, then ends with 0 and leaves no process behind."""
    process, terminal = watched
    assert b"trace" in read_until(terminal, b"fill the cart: answered")
    process.send_signal(signal.SIGINT)
    assert b"no span was lost" in read_until(terminal, b"To see them")
    assert process.wait(30) == 0
    assert wait_until_gone(environment)


def test_no_service_outlives_a_demo_that_was_killed(
    watched: tuple[subprocess.Popen[bytes], int], environment: dict[str, str]
) -> None:
    """The services end by themselves when nobody is there to tell them."""
    process, terminal = watched
    read_until(terminal, b"browse: answered")
    assert len(processes(environment)) == 7  # the demo, five services and the backend
    process.kill()
    process.wait()
    assert wait_until_gone(environment)
