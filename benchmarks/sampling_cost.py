"""`python -m benchmarks.sampling_cost`: what a decision costs, by sampler, against OpenTelemetry's SDK.

CPU time of this thread, the cases in turns in every round, the median of the rounds. The last rows are whole spans
that are not sampled, current and with two attributes, each against the SDK's with ratio 0.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased

from kai_tracing_core.processing.pipeline import PipelineConfig, SpanPipeline
from kai_tracing_core.processing.processor import SpanProcessor
from kai_tracing_core.sampling.base import SamplingRequest
from kai_tracing_core.sampling.config import create_sampler
from kai_tracing_core.span import SpanKind

_ATTRIBUTES = {"http.request.method": "GET", "http.route": "/items/{id}"}
_SAMPLERS = {
    "always_on": "always_on",
    "parent_based": "parent_based",
    "traceidratio": "traceidratio:0.1",
    "consistent_probability": "ratio:0.1",
    "rate_limiting": "rate_limiting:100",
    "adaptive": "adaptive:10",
    "rules (3, the last matches)": "rules:GET /health*=always_off;POST *=always_on;GET /items*=ratio:0.1",
    "tail (its head)": "tail",
}
_BUDGET = 0.14


def _decisions(description: str) -> Callable[[int], None]:
    decide = create_sampler(description).should_sample
    ids = random.Random(1)
    requests = [
        SamplingRequest(ids.getrandbits(128), "GET /items/{id}", SpanKind.SERVER, _ATTRIBUTES) for _ in range(1000)
    ]

    def run(count: int) -> None:
        for _ in range(count // 1000):
            for request in requests:
                decide(request)

    return run


def _sdk_decisions(sampler: object) -> Callable[[int], None]:
    decide = sampler.should_sample  # type: ignore[attr-defined]  # one of two samplers of the SDK
    ids = random.Random(1)
    trace_ids = [ids.getrandbits(128) for _ in range(1000)]

    def run(count: int) -> None:
        for _ in range(count // 1000):
            for trace_id in trace_ids:
                decide(None, trace_id, "GET /items/{id}", attributes=_ATTRIBUTES)

    return run


def _spans(description: str) -> Callable[[int], None]:
    start = SpanPipeline(PipelineConfig(sampler=create_sampler(description)), SpanProcessor()).start

    def run(count: int) -> None:
        for _ in range(count):
            with start("GET /items/{id}", attributes=_ATTRIBUTES):
                pass

    return run


def _sdk_spans() -> Callable[[int], None]:
    start = TracerProvider(sampler=ParentBased(TraceIdRatioBased(0))).get_tracer("bench").start_as_current_span

    def run(count: int) -> None:
        for _ in range(count):
            with start("GET /items/{id}", attributes=_ATTRIBUTES):
                pass

    return run


def _measure(cases: dict[str, Callable[[int], None]], rounds: int, count: int) -> dict[str, float]:
    """Microseconds of CPU for each case: the median of the rounds."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    order = list(cases)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            before = time.thread_time_ns()
            cases[name](count)
            taken[name].append((time.thread_time_ns() - before) / count / 1000)
    return {name: statistics.median(times) for name, times in taken.items()}


def main() -> None:
    """Print the tables; the exit code says whether the budget of the unsampled path is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampling_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=10_000)
    arguments = parser.parse_args()
    decisions = {"SDK: ParentBased(TraceIdRatioBased)": _sdk_decisions(ParentBased(TraceIdRatioBased(0.1)))}
    decisions["SDK: ALWAYS_ON"] = _sdk_decisions(ALWAYS_ON)
    decisions |= {name: _decisions(description) for name, description in _SAMPLERS.items()}
    spans = {"SDK: ratio 0": _sdk_spans()}
    spans |= {name: _spans(name) for name in ("ratio:0", "always_off", "parentbased_traceidratio:0")}
    for heading, cases in (("decision", decisions), ("span that is not sampled", spans)):
        costs = _measure(cases, arguments.rounds, arguments.count)
        base = next(iter(costs.values()))
        print(f"| {heading} | µs | against the SDK |\n| --- | ---: | ---: |")
        for name, cost in costs.items():
            print(f"| {name} | {cost:.2f} | {cost / base:.3f}x |")
        print()
    if costs["ratio:0"] / base > _BUDGET:
        sys.exit(f"the unsampled path costs more than {_BUDGET}x of the SDK's")


if __name__ == "__main__":
    main()
