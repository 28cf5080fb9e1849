"""One case in a process of its own: prints the figure it measured, and nothing else is imported before it."""

from __future__ import annotations

import sys
from importlib import import_module


def main() -> None:
    """`python -m benchmarks.worker <group> <case>`."""
    group, case = sys.argv[1:]
    figure = getattr(import_module(f"benchmarks.rows.{group}"), case)()
    print(f"figure={figure!r}", flush=True)


if __name__ == "__main__":
    main()
