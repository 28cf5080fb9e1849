"""Decision channels: in one process, and over real HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from kai_tracing_core.sampling.decisions import HttpDecisionChannel, InProcessDecisionChannel, Verdict

from .serving import Server


class Backend:
    """A server of verdicts, as the protocol describes it."""

    def __init__(self) -> None:
        self.decisions: dict[str, Any] = {}

    def __call__(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if (method, path) == ("POST", "/api/decisions"):
            self.decisions.update({decision["traceId"]: decision for decision in body["decisions"]})
            return 202, {}
        if (method, path) == ("POST", "/api/decisions/query"):
            known = [self.decisions[trace_id] for trace_id in body["traceIds"] if trace_id in self.decisions]
            return 200, {"decisions": known}
        return 404, {}


def test_in_process_channels_are_bounded() -> None:
    """What was published can be polled; of more than the limit the oldest are forgotten."""
    channel = InProcessDecisionChannel(limit=2)
    for trace_id in (1, 2, 3):
        channel.publish({trace_id: Verdict(True, 0.5)})
    assert channel.poll([1, 2, 3, 4]) == {2: Verdict(True, 0.5), 3: Verdict(True, 0.5)}


def test_verdicts_travel_over_http() -> None:
    """Published by one process, polled by another; unknown traces are simply missing."""
    backend = Backend()
    with Server(backend) as server:
        url = f"{server.url}/api/decisions"
        HttpDecisionChannel(url).publish({5: Verdict(True, 0.25), 6: Verdict(False, 0.0)})
        assert backend.decisions[f"{5:032x}"] == {"traceId": f"{5:032x}", "keep": True, "probability": 0.25}
        assert HttpDecisionChannel(url).poll([5, 6, 7]) == {5: Verdict(True, 0.25), 6: Verdict(False, 0.0)}


def test_malformed_verdicts_are_left_out() -> None:
    """Each decision stands for itself: one that is no decision does not cost the others."""
    answer = {"decisions": [7, {}, {"traceId": "xyz", "keep": True}, {"traceId": "5", "keep": True, "probability": 9}]}
    answer["decisions"].append({"traceId": "6", "keep": True})
    with Server(lambda *_: (200, answer)) as server:
        assert HttpDecisionChannel(server.url).poll([5, 6]) == {6: Verdict(True, 1.0)}


def test_failures_are_raised_for_the_sampler_to_count() -> None:
    """A server that refuses, and none at all, raise OSError, which the tail sampler counts."""
    with Server(lambda *_: (500, {})) as server, pytest.raises(OSError, match="500"):
        HttpDecisionChannel(server.url).publish({1: Verdict(True, 1.0)})
    with pytest.raises(OSError):
        HttpDecisionChannel("http://127.0.0.1:9", timeout=1).poll([1])
    with pytest.raises(ValueError, match="http"):
        HttpDecisionChannel("file:///etc/passwd")
