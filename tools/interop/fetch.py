"""Fetch what `make interop` runs against, once, into a cache outside the repository.

Zipkin comes as its released jar through Maven, the libraries of the JavaScript senders come through npm, Jaeger is
compiled from its Go module, and its web interface from a clone with what npm has for it, which takes a while.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

ZIPKIN_VERSION = "3.6.1"
JAEGER_VERSION = "v1.76.0"  # the tag of the module; it is Jaeger 2.13
JAEGER_UI = "https://github.com/jaegertracing/jaeger-ui.git"  # its tag is that of the module; a clone that is here does

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kai-tracing" / "interop"
ATTEMPTS = 3
DOWNLOAD_SECONDS = 300.0
BUILD_SECONDS = float(os.environ.get("INTEROP_BUILD_TIMEOUT") or 3600)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_SENDERS = Path(__file__).parents[2] / "tests" / "interop" / "js"


class NotAvailableError(Exception):
    """It cannot be had here; the message says why."""


def zipkin() -> Path:
    """The jar of the Zipkin server."""
    jar = CACHE / f"zipkin-server-{ZIPKIN_VERSION}-exec.jar"
    if not jar.exists():
        _need("java", "to run it")
        _need("mvn", "to download it")
        with workplace() as place:
            artifact = f"io.zipkin:zipkin-server:{ZIPKIN_VERSION}:jar:exec"
            command = ["mvn", "--quiet", "--batch-mode", "dependency:copy", f"-Dartifact={artifact}"]
            download([*command, f"-DoutputDirectory={place}"], place)
            (place / jar.name).replace(jar)
    return jar


def jaeger() -> Path:
    """The program of the Jaeger server."""
    program = CACHE / f"jaeger-{JAEGER_VERSION}"
    if not program.exists():
        _need("go", "to compile it")
        with workplace() as place:
            _prepare_jaeger(place)
            build = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", "jaeger"]
            run([*build, "github.com/jaegertracing/jaeger/cmd/jaeger"], place, BUILD_SECONDS)
            (place / "jaeger").replace(program)
    return program


def js() -> Path:
    """The folder with the libraries of the JavaScript senders, as their lock file names them."""
    _need("node", "to run them")
    files = [_SENDERS / name for name in ("package.json", "package-lock.json")]
    modules = CACHE / f"js-{sha256(b''.join(file.read_bytes() for file in files)).hexdigest()[:12]}"
    if not modules.exists():
        _need("npm", "to download its libraries")
        with workplace() as place:
            for file in files:
                shutil.copy(file, place)
            download(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], place)
            (place / "node_modules").replace(modules)
    return modules


def lens() -> Path:
    """The folder of Zipkin's web interface, out of its server; a browser must be there to look at it."""
    browser()
    pages = CACHE / f"lens-{ZIPKIN_VERSION}"
    if not pages.exists():
        with ZipFile(zipkin()) as server, workplace() as place:
            (inner,) = (name for name in server.namelist() if name.startswith("BOOT-INF/lib/zipkin-lens-"))
            with ZipFile(BytesIO(server.read(inner))) as packed:
                packed.extractall(place)
            (place / "zipkin-lens").replace(pages)
    return pages


def jaeger_ui() -> Path:
    """The folder of Jaeger's web interface, with a browser to look at it. `INTEROP_JAEGER_UI` names a clone."""
    browser()
    pages = CACHE / f"jaeger-ui-{JAEGER_VERSION}"
    if not pages.exists():
        for program in ("git", "npm"):
            _need(program, "to build it")
        source = os.environ.get("INTEROP_JAEGER_UI") or JAEGER_UI
        with workplace() as place:
            download(["git", "clone", "--quiet", "--depth=1", f"--branch={JAEGER_VERSION}", source, "ui"], place)
            clone = place / "ui"
            # Scripts of packages are not needed, and it builds with older versions of Node.js than it asks for.
            download(["npm", "ci", "--ignore-scripts", "--engine-strict=false", "--no-audit", "--no-fund"], clone)
            for package in ("plexus", "jaeger-ui"):
                run(["npm", "run", "build", f"--workspace=packages/{package}"], clone, BUILD_SECONDS)
            (clone / "packages" / "jaeger-ui" / "build").replace(pages)
    return pages


def browser() -> str:
    """The command of a browser that runs without a screen."""
    for name in _BROWSERS:
        if found := shutil.which(name):
            return found
    raise NotAvailableError(f"needs one of {', '.join(_BROWSERS)} to look at it, and none is installed")


def _prepare_jaeger(place: Path) -> None:
    """Make a module that requires Jaeger's.

    `go install` refuses a module with replacements, and only the main module's count: so they are repeated in a main
    module of our own. Jaeger's checksums come along, which saves asking for each of its dependencies'.
    """
    module = f"github.com/jaegertracing/jaeger@{JAEGER_VERSION}"
    run(["go", "mod", "init", "interop"], place, DOWNLOAD_SECONDS)
    source = Path(json.loads(download(["go", "mod", "download", "-json", module], place))["Dir"])
    (place / "go.sum").write_bytes((source / "go.sum").read_bytes())
    replacements = json.loads(run(["go", "mod", "edit", "-json", str(source / "go.mod")], place, DOWNLOAD_SECONDS))
    for entry in replacements["Replace"] or ():
        old, new = ("@".join(filter(None, (entry[key]["Path"], entry[key].get("Version")))) for key in ("Old", "New"))
        run(["go", "mod", "edit", f"-replace={old}={new}"], place, DOWNLOAD_SECONDS)
    package, version = module.split("@")
    download(["go", "get", f"{package}/cmd/jaeger@{version}"], place)


def _need(program: str, purpose: str) -> None:
    if shutil.which(program) is None:
        raise NotAvailableError(f"needs {program} {purpose}, which is not installed")


@contextmanager
def workplace() -> Iterator[Path]:
    """A directory on the cache's file system, so that what is complete can be moved into place at once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=CACHE, prefix="fetch-") as place:
        yield Path(place)


def download(command: list[str], place: Path) -> str:
    """Run a command that downloads something, more than once if need be."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return run(command, place, DOWNLOAD_SECONDS)
        except NotAvailableError as error:
            if attempt == ATTEMPTS:
                raise
            print(f"  attempt {attempt} of {ATTEMPTS} failed: {error}", flush=True)
            time.sleep(5 * attempt)
    raise AssertionError


def run(command: list[str], place: Path, seconds: float) -> str:
    """Run a command in `place` and give what it printed; a compiler's children end with it."""
    with subprocess.Popen(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise NotAvailableError(f"{' '.join(command)}: not done after {seconds:.0f} seconds") from None
            raise
    if process.returncode:
        last = (errors.strip() or output.strip())[-2000:]
        raise NotAvailableError(f"{' '.join(command)} ended with {process.returncode}\n{last}")
    return output


PARTS: dict[str, Callable[[], Path]] = {"zipkin": zipkin, "jaeger": jaeger, "js": js, "lens": lens, "ui": jaeger_ui}
