"""The benchmarks' own machinery: it runs, compares what it says it compares, and says what it could not measure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_a_quick_run_measures_every_row_of_a_group(tmp_path: Path) -> None:
    """Both sides of every propagation row are measured, each in a process of its own, and written down."""
    page, figures = tmp_path / "page.md", tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "--here", "--quick", "--group", "propagation"]
    subprocess.run(
        [*command, "--page", str(page), "--json", str(figures)], cwd=ROOT, check=True, capture_output=True, timeout=100
    )
    (rows,) = json.loads(figures.read_text()).values()
    assert [row["row"] for row in rows] == ["inject", "extract"]
    assert all(row["ratio"] > 0 for row in rows)
    assert "| inject |" in page.read_text()


def test_ratios_are_made_within_a_round() -> None:
    """A ratio compares figures of one round, and rounds without both of them are left out."""
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks.row import Row
        from benchmarks.run import Result
    finally:
        sys.path.remove(str(ROOT))

    def ours() -> float:
        return 0.0

    def peer() -> float:
        return 0.0

    result = Result(Row("row", ours, peer, "peer", budget=0.5), "group")
    result.figures = {"ours": [1.0, 30.0, None, 4.0], "peer": [10.0, 100.0, 10.0, 10.0]}
    assert result.ratios(ours) == pytest.approx([0.1, 0.3, 0.4])
    assert result.ratio(ours) == pytest.approx(0.3)
    assert result.met
