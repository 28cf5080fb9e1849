"""Environment variables as a carrier, for the processes that a traced one starts.

OpenTelemetry specification, "Environment Variables as Context Propagation Carriers": a header's name in upper case,
with an underscore for what a variable's name cannot have (`TRACEPARENT`, `TRACESTATE`, `BAGGAGE`, `X_B3_TRACEID`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, MutableMapping

from kai_tracing_core.propagation.w3c import BaggagePropagator, TraceContextPropagator
from kai_tracing_core.trace_context import TraceContext

__all__ = ["environment_carrier", "subprocess_env", "variable_name"]

_W3C = (TraceContextPropagator(), BaggagePropagator())

_HEADERS = (
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
    "jaeger-debug-id",
)


def variable_name(header: str) -> str:
    """The environment variable that stands for a header: `X_B3_TRACEID` for `x-b3-traceid`."""
    name = re.sub(r"[^A-Z0-9_]", "_", header.upper()) or "_"
    return f"_{name}" if name[0].isdigit() else name


_VARIABLES = {variable_name(header): header for header in _HEADERS}
_JAEGER_BAGGAGE = "UBERCTX_"


def environment_carrier(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The propagation headers that this process was started with, for `extract_context`; None is `os.environ`."""
    environ = os.environ if environ is None else environ
    carrier = {header: environ[variable] for variable, header in _VARIABLES.items() if environ.get(variable)}
    for name in environ:
        if name.startswith(_JAEGER_BAGGAGE):
            carrier["uberctx-" + name[len(_JAEGER_BAGGAGE) :].lower()] = environ[name]
    return carrier


def subprocess_env(
    context: TraceContext,
    base: Mapping[str, str] | None = None,
    *,
    inject: Callable[[TraceContext, MutableMapping[str, str]], None] | None = None,
) -> dict[str, str]:
    """The environment for a subprocess whose spans are to be children of `context`.

    It is a copy of `base` (None: `os.environ`) without what that has of another context. `inject` writes the
    formats, by default W3C's.
    """
    headers: dict[str, str] = {}
    if inject is not None:
        inject(context, headers)
    else:
        for propagator in _W3C:
            propagator.inject(context, headers)
    kept = {name: value for name, value in (os.environ if base is None else base).items() if not _is_carried(name)}
    return kept | {variable_name(header): value for header, value in headers.items()}


def _is_carried(name: str) -> bool:
    return name in _VARIABLES or name.startswith(_JAEGER_BAGGAGE)
