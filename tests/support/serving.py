"""`kai-tracing serve` in a process of its own, as an operator starts, kills and ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kai_tracing_backend.settings import BackendSettings, variable

from tests.support.backend import ask, free_ports

__all__ = ["Serving"]


class Serving:
    """The program in a folder, with these settings. Its ports stay the same when it is started again.

    What listens are the API and `listening` ("otlp_http" is the setting `otlp_http_port`), each on a free port. `log`
    has what all of its processes said. `inside` makes the command what is run.
    """

    def __init__(
        self,
        folder: Path,
        *listening: str,
        inside: Callable[[Sequence[str]], Sequence[str]] = list,
        **settings: object,
    ) -> None:
        names = ("api", *listening)
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.log = folder / "log"
        ports = dict.fromkeys(BackendSettings.ports(), 0) | {f"{name}_port": at for name, at in self.ports.items()}
        given = {"data": folder / "data", **ports, **settings}
        self.data = Path(str(given["data"]))
        self._environment = {**os.environ, **{variable(name): str(value) for name, value in given.items()}}
        self._command = inside([str(Path(sys.executable).with_name("kai-tracing")), "serve"])
        self._folder = folder
        self.start()

    def start(self) -> None:
        """Start it; `wait` says when it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdout=log, stderr=log
            )

    def wait(self, seconds: float = 60) -> Serving:
        """Until it answers. Raises RuntimeError, with the end of its log, where it does not."""
        until = time.monotonic() + seconds
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError(f"the backend did not start: {self.log.read_text()[-1_000:]}")
            time.sleep(0.1)
        return self

    def _ready(self) -> bool:
        try:
            return ask(self.ports["api"], "/readyz").status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """End it without giving it any time."""
        self.process.kill()
        self.process.wait(60)

    def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 120) -> int:
        """End it as an operator does. Returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(within)
