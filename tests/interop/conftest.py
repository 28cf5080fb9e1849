"""Starts the servers once, and the traced program for each way of sending."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.interop.servers import Backend, Jaeger, Zipkin

Record = Mapping[str, Any]
RunProgram = Callable[..., list[Record]]
RunScript = Callable[..., list[Record]]

_HERE = Path(__file__).parent
_FETCH = runpy.run_path(str(_HERE.parents[1] / "tools" / "interop" / "fetch.py"))


@pytest.fixture(scope="session")
def zipkin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zipkin]:
    """A Zipkin server, fetched if it is not in the cache."""
    with Zipkin(_FETCH["zipkin"](), tmp_path_factory.mktemp("zipkin")) as server:
        yield server


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    """A Jaeger server, built if it is not in the cache."""
    with Jaeger(_FETCH["jaeger"](), tmp_path_factory.mktemp("jaeger")) as server:
        yield server


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """Our own trace backend as users start it."""
    with Backend(Path(sys.executable).with_name("kai-tracing"), tmp_path_factory.mktemp("backend")) as server:
        yield server


@pytest.fixture(scope="session")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Opens a URL in a browser without a screen, and gives the document once its scripts have nothing more to do."""
    options = [
        "--headless=new",
        "--disable-gpu",
        "--window-size=1400,1200",
        "--virtual-time-budget=20000",
        "--dump-dom",
    ]
    command = [_FETCH["browser"](), *options]
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # it has none for root

    def document(url: str) -> str:
        profile = f"--user-data-dir={tmp_path_factory.mktemp('browser')}"
        done = subprocess.run([*command, profile, url], capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    return document


@pytest.fixture(scope="session")
def lens() -> Path:
    """The folder of Zipkin's web interface."""
    return Path(_FETCH["lens"]())


@pytest.fixture(scope="session")
def jaeger_ui() -> Path:
    """The folder of Jaeger's web interface."""
    return Path(_FETCH["jaeger_ui"]())


@pytest.fixture(scope="session")
def run_js() -> RunScript:
    """Runs a JavaScript sender with these arguments, and gives the spans that its library made."""
    environment = {**os.environ, "NODE_PATH": str(_FETCH["js"]())}

    def run(script: str, *arguments: str) -> list[Record]:
        command = ["node", str(_HERE / "js" / script), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return list(json.loads(done.stdout))

    return run


@pytest.fixture
def run_program(tmp_path: Path) -> RunProgram:
    """Runs the traced program with these variables, and gives its spans as its own API showed them."""

    def run(**variables: str) -> list[Record]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TRACING_", "OTEL_"))}
        environment = {**inherited, "TRACING_SERVICE_NAME": "gateway", **variables}
        record = tmp_path / "record.jsonl"
        command = [sys.executable, str(_HERE / "program.py"), "gateway", str(record)]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", "the program was not to say anything"
        return [json.loads(line) for line in record.read_text().splitlines()]

    return run
