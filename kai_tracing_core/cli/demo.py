"""`kai-tracing demo`: a shop of several traced services."""

from __future__ import annotations

import os
import sys

import click

__all__ = ["demo"]


@click.command()
@click.option(
    "--requests",
    type=click.IntRange(min=1),
    help="End after so many requests; without it, on Ctrl-C (where CI is set or nobody watches: after 12).",
)
@click.pass_context
def demo(context: click.Context, requests: int | None) -> None:
    """Run a shop of traced HTTP services, each its own process, and show the traces as trees.

    Where TRACING_TYPE is set, the traces go there instead. The exit code is 1 when a request failed or a span was lost.
    """
    from kai_tracing_core.demo.runner import FIXED_REQUESTS, run

    watched = sys.stdout.isatty() and os.environ.get("CI", "false").lower() in ("", "0", "false")
    context.exit(run(requests if requests or watched else FIXED_REQUESTS))
