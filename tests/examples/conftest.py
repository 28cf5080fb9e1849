"""A virtual environment of its own, with the core and the example package in it as wheels, and nothing else of ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "jsonlines_provider"
TIMEOUT = 240


def _uv(*arguments: str) -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    assert uv, "uv is not installed; `make test` brings it"
    done = subprocess.run([uv, *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` directory of the environment."""
    place = tmp_path_factory.mktemp("installed")
    # From copies, so that building leaves nothing in the source tree.
    for source in (ROOT, EXAMPLE):
        copy = place / source.name
        copy.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(source / name, copy)
        package = "kai_tracing_core" if source is ROOT else "kai_tracing_jsonlines"
        shutil.copytree(source / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
        _uv("build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", str(place / "dist"), str(copy))
    _uv("venv", "--quiet", "--python", sys.executable, str(place / "venv"))
    wheels = [str(path) for path in (place / "dist").glob("*.whl")]
    python = place / "venv" / "bin" / "python"
    _uv("pip", "install", "--quiet", "--python", str(python), *wheels, "pytest", "pytest-timeout")
    return python.parent
