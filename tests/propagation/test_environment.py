"""Environment variables as a carrier, with real processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kai_tracing_core import TraceContext, TracingService
from kai_tracing_core.propagation.composite import BUILT_IN, default_propagator
from kai_tracing_core.propagation.environment import environment_carrier, subprocess_env, variable_name
from kai_tracing_core.trace_context import SAMPLED

CONTEXT = TraceContext(10, 11, SAMPLED, "a=1", baggage={"user": "al ice"})

_CHILD = """
import os
from kai_tracing_core.propagation.composite import default_propagator
from kai_tracing_core.service import TracingService
tracing = TracingService(auto=False)
context = tracing.extract_context(os.environ)
print(context.trace_id, context.span_id, context.trace_state, dict(context.baggage))
"""


@pytest.mark.parametrize(
    ("header", "variable"),
    [
        ("traceparent", "TRACEPARENT"),
        ("x-b3-traceid", "X_B3_TRACEID"),
        ("uber-trace-id", "UBER_TRACE_ID"),
        ("1st.header", "_1ST_HEADER"),
        ("", "_"),
    ],
)
def test_variable_names(header: str, variable: str) -> None:
    """Upper case, underscores, no digit in front (OpenTelemetry, environment variable carriers)."""
    assert variable_name(header) == variable


def test_a_subprocess_joins_the_trace(tracing: TracingService) -> None:
    """A process started under a span finds that span, its state and the baggage in its environment."""
    parent = tracing.extract_context({"traceparent": f"00-{10:032x}-{11:016x}-01", "tracestate": "a=1"})
    with tracing.span("job", parent=parent) as span:
        tracing.set_baggage("user", "al ice")
        environment = tracing.subprocess_env()
        tracing.remove_baggage("user")
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split(maxsplit=3) == [span.trace_id, span.span_id, "a=1", "{'user': 'al ice'}\n"]


def test_what_was_there_before_is_replaced() -> None:
    """Nothing of this process's own parent is handed down beside the new context; all else is."""
    base = {
        "PATH": "/bin",
        "TRACEPARENT": "old",
        "TRACESTATE": "old=1",
        "BAGGAGE": "old=1",
        "X_B3_FLAGS": "1",
        "UBERCTX_OLD": "1",
    }
    environment = subprocess_env(TraceContext(10, 11, SAMPLED), base)
    assert environment == {"PATH": "/bin", "TRACEPARENT": f"00-{10:032x}-{11:016x}-01"}
    assert subprocess_env(TraceContext(), base) == {"PATH": "/bin"}
    assert base["TRACEPARENT"] == "old"


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "baggage"])
def test_every_format_travels(name: str) -> None:
    """What a format writes to the environment it reads from there."""
    propagator = default_propagator([name, "baggage"])
    environment = subprocess_env(CONTEXT, {}, inject=propagator.inject)
    found = propagator.extract_from(environment_carrier(environment))
    assert found is not None
    assert (found._trace_id, found._span_id, found.is_sampled) == (10, 11, True)
    assert found.baggage == {"user": "al ice"}


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a base the process's own environment is copied and read, never changed."""
    monkeypatch.setenv("X_B3_SAMPLED", "0")
    assert environment_carrier()["x-b3-sampled"] == "0"
    environment = subprocess_env(CONTEXT)
    assert environment["PATH"] == os.environ["PATH"]
    assert "X_B3_SAMPLED" not in environment
    assert "TRACEPARENT" not in os.environ


def test_without_a_span_only_baggage_goes(tracing: TracingService) -> None:
    """Where no span is current, nothing but the baggage is handed down; a given context goes as it is."""
    assert tracing.subprocess_env(base={"A": "1"}) == {"A": "1"}
    assert tracing.subprocess_env(CONTEXT, {})["BAGGAGE"] == "user=al%20ice"
