"""Whole processes: what they traced is delivered at their exit, from forked children too, and once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest
import urllib3

from tests.support.server import Answer, FaultServer

ROOT = Path(__file__).parents[2]


def environment(url: str) -> dict[str, str]:
    """For a program that sends to the server at `url`."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "TRACING_ZIPKIN__ENDPOINT": f"{url}/api/v2/spans"}


def run(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `program.py` to its end."""
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-m", "tests.faults.program", *arguments],
        env=environment(url),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def names(server: FaultServer) -> Counter[str]:
    """How many spans of each name arrived; none of them twice."""
    assert set(server.deliveries.values()) <= {1}
    return Counter(span.name for span in server.spans)


def test_a_script_delivers_at_its_end() -> None:
    """Nobody flushes, and the delay is an hour: the exit delivers, even after a first failure."""
    with FaultServer([503]) as server:
        done = run(server.url, "script")
        assert (done.returncode, done.stdout) == (0, "")
        assert names(server) == {"script": 5}


def test_an_exit_code_survives() -> None:
    """A program that ends by an exception keeps its exit code, and its span says so."""
    with FaultServer() as server:
        assert run(server.url, "uncaught").returncode == 3
        (span,) = server.spans
        assert span.raw["tags"]["otel.status_code"] == "ERROR"


@pytest.mark.parametrize("fault", ["down", "hang", "reset", "drip"])
def test_a_failing_backend_does_not_keep_the_process(fault: str) -> None:
    """With the backend down or hanging a program ends within its exit time-out (here 2 s), without a traceback."""
    then = 503 if fault == "down" else Answer(action=fault)
    with FaultServer(then=then) as server, socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}" if fault == "down" else server.url
        started = monotonic()
        done = run(url, "script")
        assert monotonic() - started < 20
        assert done.returncode == 0
        assert "Traceback" not in done.stderr
        assert "5 spans" in done.stderr


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(method: str) -> None:
    """Two children and their parent: each one's spans arrive, once, whichever way the children are started."""
    with FaultServer() as server:
        done = run(server.url, "children", method)
        assert done.returncode == 0, done.stderr
        assert names(server) == {"parent": 10, "child 0": 5, "child 1": 5}
        assert len({span.span_id for span in server.spans}) == 20


def test_forks_of_a_busy_process() -> None:
    """Children forked while another thread traces and the connection is open deliver their own spans only."""
    with FaultServer() as server:
        done = run(server.url, "fork")
        assert done.returncode == 0, done.stderr
        received = names(server)
        assert received.pop("thread") > 0
        assert received == {"parent": 5, **{f"child {number}": 5 for number in range(5)}}


def test_gunicorn_with_preload() -> None:
    """The application is loaded once and forked into two workers: every request's span arrives, once."""
    with FaultServer() as server, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        listener.set_inheritable(True)
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "--preload",
            "--workers",
            "2",
            "--bind",
            f"fd://{listener.fileno()}",
        ]
        command += ["--graceful-timeout", "20", "--no-control-socket", "tests.faults.wsgi:application"]
        process = subprocess.Popen(
            command,
            env=environment(server.url),
            cwd=ROOT,
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            answers = _requests(listener.getsockname()[1], 40)
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=40)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()
        workers, ids = {pid for pid, _ in answers}, {span_id for _, span_id in answers}
        assert process.returncode == 0, log
        assert len(workers) >= 1
        assert str(process.pid) not in workers
        assert names(server) == {"loaded": 1, "request": 40}
        assert ids < set(server.deliveries)


def _requests(port: int, count: int) -> list[tuple[str, str]]:
    """The answers, each over a connection of its own so that both workers get some."""
    answers = []
    with urllib3.PoolManager(headers={"Connection": "close"}) as pool:
        for _ in range(count):
            response = pool.request("GET", f"http://127.0.0.1:{port}/", timeout=30, retries=False)
            assert response.status == 200
            pid, span_id = response.data.decode().split()
            answers.append((pid, span_id))
    return answers
