"""`kai-tracing sampling`: what a sampling policy would do."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kai_tracing_core.errors import ConfigurationError

if TYPE_CHECKING:
    from kai_tracing_core.sampling.base import Sampler
    from kai_tracing_core.sampling.replay import Report

__all__ = ["sampling", "simulate"]


@click.group()
def sampling() -> None:
    """Try out sampling policies."""


@sampling.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--policy", required=True, help="A sampler, such as ratio:0.1 or tail:error,latency=p95, or a TOML or JSON file."
)
@click.option("--slow", type=click.FloatRange(min=0), help="Seconds from which a trace is slow.  [default: the p95]")
@click.option("--operations", default=10, show_default=True, help="Operations to show the estimated rates of.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, with all operations.")
def simulate(file: Path, policy: str, slow: float | None, operations: int, as_json: bool) -> None:
    """Replay the recorded traces in FILE (OTLP JSON lines, perhaps gzipped) through a sampling policy."""
    from kai_tracing_core.sampling.config import SamplerContext, create_sampler
    from kai_tracing_core.sampling.recording import RecordingError, read_recording
    from kai_tracing_core.sampling.replay import replay

    description = _read_policy(policy)

    def create(service: str, clock: Callable[[], float]) -> Sampler:
        return create_sampler(description, context=SamplerContext(service, clock), where="policy")

    try:
        create("", lambda: 0.0).close()  # a mistake in the policy is told before a long file is read
        report = replay(read_recording(file), create, slow=slow)
    except (ConfigurationError, RecordingError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2))
    else:
        _show(report, operations)


def _read_policy(policy: str) -> str | dict[str, Any]:
    path = Path(policy)
    if path.suffix not in (".toml", ".json"):
        return policy
    try:
        text = path.read_text(encoding="utf-8")
        table = json.loads(text) if path.suffix == ".json" else _toml().loads(text)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{path}: {error}") from error
    if not isinstance(table, dict):
        raise click.ClickException(f"{path}: no table")
    found: dict[str, Any] = table
    for key in ("tool", "kai_tracing", "sampler"):
        if isinstance(found.get(key), dict):
            found = found[key]
    return found


def _toml() -> Any:
    if sys.version_info >= (3, 11):
        import tomllib

        return tomllib
    import tomli  # pragma: no cover - Python 3.10

    return tomli  # pragma: no cover - Python 3.10


def _show(report: Report, operations: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"spans   {report.spans_kept} of {report.spans} kept ({_share(report.spans_kept, report.spans)})")
    partial = f", {report.traces_partial} of them in part" if report.traces_partial else ""
    kept = f"{report.traces_kept} of {report.traces} kept ({_share(report.traces_kept, report.traces)})"
    console.print(f"traces  {kept}{partial}")
    console.print(f"bytes   {report.bytes_kept} of {report.bytes} as JSON ({_share(report.bytes_kept, report.bytes)})")
    console.print(f"errors  {report.errors.lost} of {report.errors.total} failed traces lost")
    slow = f" (from {report.slow_seconds:.3f} s)" if report.slow_seconds is not None else ""
    console.print(f"slow    {report.slow.lost} of {report.slow.total} slow traces lost{slow}")
    table = Table("operation", box=box.SIMPLE)
    for heading in ("traces", "kept", "estimated", "± (95 %)"):
        table.add_column(heading, justify="right")
    for rate in report.rates[:operations]:
        bar = "unknown" if rate.bar is None else f"{rate.bar:.1f}"
        table.add_row(rate.operation, str(rate.true), str(rate.kept), f"{rate.estimated:.1f}", bar)
    console.print(table)
    if len(report.rates) > operations:
        console.print(f"and {len(report.rates) - operations} more operations")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"
