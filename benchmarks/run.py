"""Runs cases in rounds, each in a process of its own, and makes ratios of what they measured."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from statistics import median

from benchmarks.environments import ROOT
from benchmarks.row import Case, Row

__all__ = ["GROUPS", "Result", "can_count", "measure"]

GROUPS = ("startup", "recording", "processing", "propagation", "memory", "export", "http")
_TIMEOUT = 300


@dataclass
class Result:
    """What was measured for one row: a figure per round and case, and instruction counts by case."""

    row: Row
    group: str
    figures: dict[str, list[float | None]] = field(default_factory=dict)
    instructions: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def ratios(self, case: Case) -> list[float]:
        """The case to the peer, in every round that has both."""
        pairs = zip(self.figures.get(case.__name__, ()), self.figures.get(self.row.peer.__name__, ()), strict=True)
        return [ours / peer for ours, peer in pairs if ours is not None and peer]

    def ratio(self, case: Case) -> float | None:
        """The median of the ratios."""
        ratios = self.ratios(case)
        return median(ratios) if ratios else None

    def figure(self, case: Case) -> float | None:
        """The median of the figures."""
        figures = [figure for figure in self.figures.get(case.__name__, ()) if figure is not None]
        return median(figures) if figures else None

    def instruction_ratio(self) -> float | None:
        """Our instructions to the peer's."""
        ours, peer = (self.instructions.get(case.__name__) for case in (self.row.ours, self.row.peer))
        return ours / peer if ours is not None and peer else None

    @property
    def met(self) -> bool | None:
        """Whether the row keeps its budget, by time; None where it has none, or could not be measured."""
        limit, value = self.row.limit, self.figure(self.row.ours)
        if limit is None:
            limit, value = self.row.budget, self.ratio(self.row.ours)
        return None if limit is None or value is None else value <= limit


def measure(
    python: str, groups: Sequence[str], rounds: int, *, scale: float, count: bool, say: Callable[[str], None]
) -> list[Result]:
    """Measure every row of the groups with this Python: in each round all cases of a group, in a random order."""
    results = [Result(row, group) for group in groups for row in import_module(f"benchmarks.rows.{group}").ROWS]
    for number in range(rounds):
        for group in random.sample(groups, len(groups)):
            say(f"round {number + 1} of {rounds}: {group}")
            _round(python, group, [result for result in results if result.group == group], scale)
    if count:
        _count_all(python, results, say)
    return results


def _round(python: str, group: str, results: Sequence[Result], scale: float) -> None:
    names = list({case.__name__ for result in results for case in result.row.cases})
    random.shuffle(names)
    figures: dict[str, float | None] = {}
    errors: dict[str, str] = {}
    for name in names:
        try:
            figures[name] = _figure(_work(python, group, name, {"BENCH_SCALE": str(scale)}))
        except (subprocess.SubprocessError, ValueError) as error:
            figures[name], errors[name] = None, _reason(error)
    for result in results:
        for name in {case.__name__ for case in result.row.cases}:
            result.figures.setdefault(name, []).append(figures[name])
            if name in errors:
                result.errors[name] = errors[name]


def _work(
    python: str, group: str, case: str, environment: dict[str, str], under: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    # A fixed hash seed makes rounds, and counts of instructions, comparable.
    return subprocess.run(
        [*under, python, "-m", "benchmarks.worker", group, case],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=_TIMEOUT,
    )


def _figure(done: subprocess.CompletedProcess[str]) -> float:
    found = re.search(r"^figure=(.+)$", done.stdout, re.MULTILINE)
    if found is None:
        raise ValueError(f"no figure: {done.stdout[-500:]}")
    return float(found[1])


def _reason(error: Exception) -> str:
    lines = getattr(error, "stderr", None) or str(error)
    return str(lines).strip().splitlines()[-1]


def can_count() -> bool:
    """Whether instructions can be counted here."""
    return all(shutil.which(tool) for tool in ("valgrind", "callgrind_control", "sh"))


def _count_all(python: str, results: Sequence[Result], say: Callable[[str], None]) -> None:
    """Count the instructions of the calling thread for one turn of every case that can be counted."""
    counts: dict[str, float] = {}
    switching = 0  # what turning the counting on and off takes, the same for all
    for result in results:
        for case in (result.row.ours, result.row.peer):
            name = case.__name__
            if result.row.counted and name not in counts and name not in result.errors:
                say(f"counting the instructions of {name}")
                try:
                    switching = switching or _count(python, result.group, name, "nothing")[0]
                    total, turns = _count(python, result.group, name, "body")
                    counts[name] = (total - switching) / turns
                except (subprocess.SubprocessError, ValueError, OSError) as error:
                    result.errors[name] = f"not counted: {_reason(error)}"
            if name in counts:
                result.instructions[name] = counts[name]


def _count(python: str, group: str, case: str, what: str) -> tuple[int, float]:
    """How many instructions the main thread needs for the body of the case, or for nothing; and for how many turns."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        under = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes"]
        under.append(f"--callgrind-out-file={out}")
        turns = _figure(_work(python, group, case, {"BENCH_INSTRUCTIONS": what}, under))
        calling = Path(f"{out}-01").read_text()
    found = re.search(r"^totals: (\d+)", calling, re.MULTILINE)
    if found is None:
        raise ValueError("callgrind counted nothing")
    return int(found[1]), turns
