"""`python -m benchmarks`: measure every row on the oldest and the newest Python, and write the page about it."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path

from benchmarks.environments import ROOT, peer_versions, prepare
from benchmarks.report import page, to_json
from benchmarks.run import GROUPS, Result, can_count, measure

_VERSIONS = ("3.10", "3.13")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often every case runs")
    parser.add_argument("--quick", action="store_true", help="one short round without counting: does it run at all?")
    parser.add_argument("--group", action="append", choices=GROUPS, help="only this group of rows; may be repeated")
    parser.add_argument("--python", action="append", help=f"a version instead of {' and '.join(_VERSIONS)}")
    parser.add_argument("--here", action="store_true", help="measure with this interpreter and what it has installed")
    parser.add_argument("--no-instructions", action="store_true", help="do not count instructions")
    parser.add_argument("--page", type=Path, help="where to write the page; docs/benchmarks.md after a whole run")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/latest.json")
    return parser.parse_args()


def main() -> None:
    """Run it. The exit code says whether every row could be measured; a budget that is missed is not a failure."""
    arguments = _arguments()
    groups = tuple(arguments.group or GROUPS)
    count = not (arguments.quick or arguments.no_instructions)
    if count and not can_count():
        print("valgrind is not installed: instructions are not counted", file=sys.stderr)
        count = False
    versions = (platform.python_version(),) if arguments.here else tuple(arguments.python or _VERSIONS)
    results: dict[str, list[Result]] = {}
    peers: dict[str, str] = {}
    for version in versions:
        python = sys.executable if arguments.here else prepare(version)
        if python is None:
            print(f"Python {version} is not installed: skipped", file=sys.stderr)
            continue
        peers[version] = peer_versions(python)
        results[version] = measure(
            python,
            groups,
            1 if arguments.quick else arguments.rounds,
            scale=0.1 if arguments.quick else 1.0,
            count=count,
            say=lambda what, version=version: print(f"[{version}] {what}", file=sys.stderr, flush=True),
        )
    whole = not arguments.quick and groups == GROUPS and not arguments.here
    written = page(results, peers, " ".join(("python -m benchmarks", *sys.argv[1:])) if sys.argv[1:] else "make bench")
    print(written)
    target = arguments.page or (ROOT / "docs/benchmarks.md" if whole else None)
    if target is not None:
        target.write_text(written, encoding="utf-8")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(to_json(results), indent=1), encoding="utf-8")
    if not results or any(result.figure(result.row.ours) is None for rows in results.values() for result in rows):
        sys.exit("not every row could be measured")


if __name__ == "__main__":
    main()
