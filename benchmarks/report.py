"""The results as a page of the documentation, and as JSON."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.run import Result

__all__ = ["page", "to_json"]

_INTRODUCTION = """\
# Benchmarks

What tracing costs an application, beside other tracers measured in the same run. This page is written by

```console
{command}
```

Every case runs in a process of its own, once a round, with its peers and in a random order; what is compared is CPU
time, of the thread that makes the spans or, for exported spans, of the whole process; the figure of a process is the
lower quartile of what it measured, since load only ever adds. A ratio is the median over the rounds of our figure
divided by the peer's in the same round, with the smallest and the largest of them in brackets: ratios carry over to
another machine, times do not. Where instructions were counted as well (valgrind's callgrind, the calling thread alone),
their ratio has no noise but says nothing about caches; whether a row keeps its budget goes by time. The collectors are
processes on the same machine, which only count what they get.
"""


def page(results: Mapping[str, Sequence[Result]], peers: Mapping[str, str], command: str) -> str:
    """The Markdown page; `results` and the versions of the `peers` by Python version."""
    parts = [_INTRODUCTION.format(command=command)]
    for version, rows in results.items():
        parts += [f"## Python {version}\n", f"With {peers[version]}.\n", _table(rows), ""]
        beside = _beside(rows)
        if beside:
            parts += [f"Other tracers on Python {version}, against the same peer:\n", beside, ""]
    parts.append(f"Machine: {platform.machine()}, {platform.system()}.\n")
    return "\n".join(parts)


def _table(results: Sequence[Result]) -> str:
    lines = [
        "| what | figure | against | its figure | ratio | instructions | ratio of them | budget | |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for result in results:
        row = result.row
        errors = [result.errors[case.__name__] for case in (row.ours, row.peer) if case.__name__ in result.errors]
        verdict = {True: "within", False: "**over**", None: f"not run: {errors[0]}" if errors else ""}[result.met]
        budget = "" if row.budget is None else f"≤ {row.budget:.2f}"
        if row.limit is not None:
            budget = f"≤ {row.limit} {row.unit}"
        count = result.instructions.get(row.ours.__name__)
        cells = (
            row.name,
            _figure(result.figure(row.ours), row.unit),
            row.peer_name,
            _figure(result.figure(row.peer), row.unit),
            _ratio(result.ratios(row.ours), result.ratio(row.ours)),
            "" if count is None else f"{count:,.0f}",
            "" if (ratio := result.instruction_ratio()) is None else f"{ratio:.3f}",
            budget,
            verdict,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _beside(results: Sequence[Result]) -> str:
    lines = ["| what | tracer | figure | ratio |", "| --- | --- | ---: | ---: |"]
    for result in results:
        for name, case in result.row.beside:
            figure = result.figure(case)
            shown = _figure(figure, result.row.unit) if figure is not None else "not run"
            lines.append(
                f"| {result.row.name} | {name} | {shown} | {_ratio(result.ratios(case), result.ratio(case))} |"
            )
    return "\n".join(lines) if len(lines) > 2 else ""


def _figure(figure: float | None, unit: str) -> str:
    if figure is None:
        return "-"
    return f"{figure:,.0f} {unit}" if figure >= 100 else f"{figure:.1f} {unit}"


def _ratio(ratios: Sequence[float], middle: float | None) -> str:
    return "-" if middle is None else f"{middle:.3f} [{min(ratios):.3f} to {max(ratios):.3f}]"


def to_json(results: Mapping[str, Sequence[Result]]) -> dict[str, Any]:
    """All that was measured."""
    return {
        version: [
            {
                "group": result.group,
                "row": result.row.name,
                "ours": result.row.ours.__name__,
                "peer": result.row.peer.__name__,
                "unit": result.row.unit,
                "budget": result.row.budget,
                "limit": result.row.limit,
                "ratio": result.ratio(result.row.ours),
                "instruction_ratio": result.instruction_ratio(),
                "met": result.met,
                "figures": result.figures,
                "instructions": result.instructions,
                "errors": result.errors,
            }
            for result in rows
        ]
        for version, rows in results.items()
    }
