"""A WSGI application that traces its requests, for a server that forks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from tests.faults.program import tracing

with tracing.span("loaded"):  # by `--preload` in the parent, before the workers are forked
    pass


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with the worker's process id, and the id of the span."""
    with tracing.span("request") as span:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{os.getpid()} {span.span_id}".encode()]
