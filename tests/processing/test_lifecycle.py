"""Exit and fork, where one of those that are told of it fails."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import logging, os
from types import SimpleNamespace

from kai_tracing_core.processing import lifecycle
from kai_tracing_core.sampling.forking import after_fork

logging.basicConfig(format="%(message)s")


class Managed:
    options = SimpleNamespace(exit_timeout=1.0)

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return self.name

    def shutdown(self, timeout):
        print("shut down", self, flush=True)
        assert self.name != "broken"

    def after_fork(self):
        print("forked", self, flush=True)
        assert self.name != "broken"


broken, sound = Managed("broken"), Managed("sound")
lifecycle.register(broken, before_others=True)
lifecycle.register(sound)
after_fork(broken)
if not (child := os.fork()):
    os._exit(0)
os.waitpid(child, 0)
"""


def test_who_fails_at_exit_or_fork_keeps_nobody_else_from_it() -> None:
    """An exception of one is logged; the others are told, and the process ends as it would have."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert sorted(said[:3]) == ["forked broken", "forked broken", "forked sound"]
    assert said[3:] == ["shut down broken", "shut down sound"]
    assert done.stderr.count("broken does not survive the fork") == 2
    assert "shutting down broken failed" in done.stderr
