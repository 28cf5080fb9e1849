"""A virtual environment per Python version, with this project and its peers in it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["ROOT", "find_python", "peer_versions", "prepare"]

ROOT = Path(__file__).parents[1]
_PROVIDERS = sorted(path.parent for path in ROOT.glob("providers/*/pyproject.toml"))


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        sys.exit("uv is missing: `make bench` installs it")
    return found


def find_python(version: str) -> str | None:
    """An installed interpreter of this version (`3.13`): one of pyenv, or one that uv knows."""
    installed = [str(path) for path in Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    if installed:
        return max(installed)
    asked = subprocess.run(
        [_uv(), "python", "find", "--no-python-downloads", version], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None


def prepare(version: str) -> str | None:
    """The Python of an environment that is ready to measure in; None where the version is not installed."""
    base = find_python(version)
    if base is None:
        return None
    home = ROOT / ".benchmarks" / f"py{version}"
    python = str(home / "bin" / "python")
    described = b"".join(
        path.read_bytes() for path in (ROOT / "pyproject.toml", *(p / "pyproject.toml" for p in _PROVIDERS))
    )
    stamp, wanted = home / ".ready", hashlib.sha256(described).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([_uv(), "venv", "--quiet", "--clear", "--python", base, str(home)], check=True)
        packages = [argument for path in (ROOT, *_PROVIDERS) for argument in ("-e", str(path))]
        subprocess.run(
            [_uv(), "pip", "install", "--quiet", "--python", python, *packages, "--group", "bench"],
            check=True,
            cwd=ROOT,
        )
        stamp.write_text(wanted)
    return python


def peer_versions(python: str) -> str:
    """The peers that are installed for this Python, with their versions."""
    program = (
        "from importlib.metadata import distributions as all\n"
        "peers = ('opentelemetry-sdk', 'ddtrace', 'jaeger-client', 'py-zipkin')\n"
        "print(', '.join(sorted({f'{d.name} {d.version}' for d in all() if d.name in peers})))"
    )
    return subprocess.run([python, "-c", program], check=True, capture_output=True, text=True).stdout.strip()
