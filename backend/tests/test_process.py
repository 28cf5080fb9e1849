"""`kai-tracing serve` as a process: what it prints, and how it ends; `test_drill.py` kills it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from kai_tracing_backend.settings import BackendSettings
from kai_tracing_backend.storage.duckdb.store import DuckDBStore

from tests.support.backend import free_ports


def start(*options: object) -> subprocess.Popen[str]:
    """`kai-tracing serve` with these options; a port that is not among them is off."""
    off = {f"TRACING_BACKEND_{name.upper()}": "0" for name in BackendSettings.declared if name.endswith("_port")}
    command = [str(Path(sys.executable).with_name("kai-tracing")), "serve", *map(str, options)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **off}
    )


def test_it_says_where_it_listens_and_stops_when_told(tmp_path: Path) -> None:
    """The ports on standard output; SIGTERM ends it with 0; by default its folder is the only thing it needs."""
    port = free_ports(1)[0]
    process = start("--data", tmp_path, "--api-port", port)
    assert process.stdout is not None
    lines = [process.stdout.readline(), process.stdout.readline()]
    assert f"http://127.0.0.1:{port}" in lines[1]
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, "", "")


def test_a_start_that_cannot_be_names_what_is_wrong(tmp_path: Path) -> None:
    """A taken port, a folder in use and a bad setting: one line, no traceback, and an exit status."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start("--data", tmp_path, "--api-port", port)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "TRACING_BACKEND_API_PORT" in errors
    store = DuckDBStore(tmp_path)
    process = start("--data", tmp_path)
    _, errors = process.communicate(timeout=60)
    store.close()
    assert "in use by another process" in errors
    (tmp_path / "file").touch()
    process = start("--data", tmp_path / "file", "--access-file", tmp_path / "tokens.json")
    _, errors = process.communicate(timeout=60)
    assert "cannot be a folder of spans" in errors
    assert "Traceback" not in errors
    process = start("--data", tmp_path, "--memory-limit", "lots")
    _, errors = process.communicate(timeout=60)
    assert "TRACING_BACKEND_MEMORY_LIMIT" in errors
    assert "Traceback" not in errors
    process = start("--data", tmp_path)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.count("\n")) == (1, 1)
    assert "every port is 0" in errors
