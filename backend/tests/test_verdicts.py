"""Verdicts of tail samplers by way of the backend."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from kai_tracing_core.sampling.decisions import HttpDecisionChannel, Verdict
from tests.support.backend import ask, running

PROCESS = """
import sys, time
from kai_tracing_core import SpanKind, SpanStatusCode, initialize_tracing

service, otlp, channel = sys.argv[1:]
tracing = initialize_tracing(
    type="opentelemetry", service_name=service, opentelemetry={"endpoint": otlp},
    sampler={"type": "tail", "policies": ["error"], "decision_channel": channel, "decision_wait": 60.0,
             "poll_interval": 0.05},
)
for line in sys.stdin:
    what, _, header = line.strip().partition(" ")
    if what in ("fail", "pass"):
        span = tracing.start_span("root", kind=SpanKind.SERVER).span
        carrier = {}
        tracing.inject_context(span.trace_context, carrier)
        print(carrier["traceparent"], flush=True)
    elif what == "end":
        if header == "fail":
            tracing.set_span_status(span, SpanStatusCode.ERROR)
        tracing.end_span(span)
    elif what == "part":
        with tracing.span("part", kind=SpanKind.SERVER, parent=tracing.extract_context({"traceparent": header})):
            pass
        print("held", flush=True)
    elif what == "settle":
        while tracing.stats().queued:
            time.sleep(0.02)
        print(tracing.stats().exported, dict(tracing.stats().dropped), flush=True)
tracing.shutdown()
"""


class Service:
    """A process that traces and does what it is told."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-c", PROCESS, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, what: str, *, answer: bool = True) -> str:
        """Tell it, and give what it says."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip() if answer else ""

    def stop(self) -> None:
        """End it."""
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0


def test_a_process_follows_the_root_s_verdict_of_another(tmp_path: Path) -> None:
    """Two processes: of the trace that fails at its root both parts are stored, of the other one neither.

    The second process has no reason of its own to keep anything, and holds its part back until the verdict is there.
    """
    with running(tmp_path) as backend:
        otlp = f"http://127.0.0.1:{backend.settings.otlp_http_port}"
        channel = f"http://127.0.0.1:{backend.settings.api_port}/api/v1/sampling/decisions"
        root, other = Service("root", otlp, channel), Service("other", otlp, channel)
        traces = {}
        for outcome in ("fail", "pass"):
            header = root.say(outcome)
            traces[outcome] = header.split("-")[1]
            assert other.say(f"part {header}") == "held"
            root.say(f"end {outcome}", answer=False)
        assert root.say("settle") == "1 {'tail_sampled': 1}"
        assert other.say("settle") == "1 {'tail_sampled': 1}"
        root.stop()
        other.stop()
        store = backend.tenants.get().store
        assert {span.service for span in store.trace(traces["fail"])} == {"root", "other"}
        assert store.trace(traces["pass"]) == []


def test_verdicts_are_remembered_and_what_is_wrong_is_said(tmp_path: Path) -> None:
    """The core's channel gets back what it published, and nothing of what nobody did; nonsense is 400."""
    with running(tmp_path) as backend:
        port = backend.settings.api_port
        channel = HttpDecisionChannel(f"http://127.0.0.1:{port}/api/v1/sampling/decisions")
        channel.publish({5: Verdict(True, 0.25), (1 << 128) - 1: Verdict(False, 0.0)})
        found = {5: Verdict(True, 0.25), (1 << 128) - 1: Verdict(False, 0.0)}
        assert channel.poll([5, 6, (1 << 128) - 1]) == found
        for path, body in (
            ("", {"decisions": [{"traceId": "xyz", "keep": True}]}),
            ("", {"decisions": [{"traceId": "1", "keep": True, "probability": 2}]}),
            ("", {}),
            ("/query", {"traceIds": "1"}),
            ("/query", {"traceIds": ["1"] * 10_001}),
        ):
            answer = ask(port, f"/api/v1/sampling/decisions{path}", json.dumps(body).encode())
            assert answer.status == 400
            assert answer.json["error"]
