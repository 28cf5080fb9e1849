"""`make w3c`: the W3C's own test suite of Trace Context (w3c/trace-context) against a service of ours.

Needs git; SOURCE may name a clone that is here already. The suite runs at its highest level and strictness.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import fetch

_ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(_ROOT))
_SOURCE = "https://github.com/w3c/trace-context.git"
_COMMIT = "acab820be9db7b3433668baa5cdd43f57f4c4be0"


def suite() -> Path:
    """The folder of the suite, with the library that it needs beside it; fetched once."""
    folder = fetch.CACHE / f"w3c-{_COMMIT[:12]}"
    if not folder.exists():
        with fetch.workplace() as place:
            clone = ["git", "clone", "--quiet", os.environ.get("SOURCE") or _SOURCE, "source"]
            fetch.download(clone, place)
            fetch.run(["git", "-C", "source", "checkout", "--quiet", _COMMIT], place, fetch.DOWNLOAD_SECONDS)
            uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--target", "source/test"]
            fetch.download([*uv, "--python", sys.executable, "aiohttp>=3.9"], place)
            (place / "source" / "test").replace(folder)
    return folder


def main() -> int:
    """Start the service, run the suite, and end as it ends."""
    try:
        folder = suite()
    except fetch.NotAvailableError as error:
        print(f"w3c: NOT AVAILABLE: {error}", flush=True)
        return 1
    from tests.w3c.service import serving

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "HARNESS_PORT": str(port), "STRICT_LEVEL": "2", "SPEC_LEVEL": "2"}
    with serving() as (_, service):
        command = [sys.executable, "test.py", f"http://127.0.0.1:{service}/test"]
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
