"""`make interop`: fetch the servers and senders of others, run the tests with them, and say what ran.

Ends with 1 when an answer was wrong or something could not be had. With INTEROP_OPTIONAL=1 the lack of it is reported
and forgiven, a wrong answer is not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fetch

_TESTS = Path(__file__).parents[2] / "tests" / "interop"


def main() -> int:
    """Run the tests of everything that is there; the exit code says whether all is well."""
    missing: dict[str, str] = {}
    wrong: list[str] = []
    for name, get in fetch.PARTS.items():
        print(f"interop: {name}: fetching it unless it is in {fetch.CACHE}", flush=True)
        try:
            print(f"interop: {name}: {get()}", flush=True)
        except fetch.NotAvailableError as error:
            missing[name] = str(error)
            print(f"interop: {name}: NOT AVAILABLE: {error}", flush=True)
            continue
        tests = sorted(map(str, _TESTS.glob(f"test_{name}*.py")))
        if subprocess.run([sys.executable, "-m", "pytest", "--timeout=300", *tests], check=False).returncode:
            wrong.append(name)
    for name in fetch.PARTS:
        result = "NOT RUN: " + missing[name] if name in missing else "FAILED" if name in wrong else "passed"
        print(f"interop: {name}: {result}", flush=True)
    forgiven = os.environ.get("INTEROP_OPTIONAL") == "1"
    return 1 if wrong or (missing and not forgiven) else 0


if __name__ == "__main__":
    sys.exit(main())
