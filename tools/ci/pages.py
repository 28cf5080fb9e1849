"""Run the examples of every page with exactly the packages that the page says to install: `python pages.py UV DIST`.

The test suite runs them, too, where everything is installed: a `pip install` that a page forgets is only seen here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = re.compile(
    r"^(?P<indent> *)```python *(?P<tags>[^\n]*)\n(?P<code>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE
)
INSTALL = re.compile(r"pip install ([^`\n]+)")


def program(text: str) -> str:
    """The examples of a page, one after the other."""
    blocks = [found for found in EXAMPLE.finditer(text) if "no-run" not in found["tags"]]
    return "\n".join(textwrap.dedent(found["code"]) for found in blocks)


def requirements(text: str) -> list[str]:
    """What the page says to install."""
    named = [name.strip("\"'") for found in INSTALL.finditer(text) for name in found[1].split()]
    return sorted(set(named)) or ["kai-tracing-core"]


def main(uv: str, dist: Path) -> None:
    """Try every page that has examples; end with those that fail."""
    names = [wheel.name.partition("-")[0].replace("_", "-") for wheel in dist.glob("*.whl")]
    fresh = [argument for name in names for argument in ("--refresh-package", name)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRACING_", "OTEL_"))}
    failed = 0
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text("utf-8")
        code = program(text)
        if not code:
            continue
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            python = str(place / ".venv/bin/python")
            (place / "example.py").write_text(code, "utf-8")
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(place / ".venv")], check=True)
            install = [uv, "pip", "install", "--quiet", "--python", python, *fresh, "--find-links", str(dist)]
            subprocess.run([*install, *requirements(text)], check=True)
            done = subprocess.run(
                [python, "-W", "error", "example.py"],
                cwd=place,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        print(f"  {page.relative_to(DOCS)} with {', '.join(requirements(text))}: {done.returncode}", flush=True)
        if done.returncode:
            failed += 1
            print(textwrap.indent(done.stderr, "    "))
    if failed:
        sys.exit(f"{failed} pages do not work with what they say to install")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
