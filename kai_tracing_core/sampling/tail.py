"""Tail sampling: whether a trace is kept is decided when this process's part of it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kai_tracing_core.sampling.base import Sampler, SamplingRequest, SamplingResult
from kai_tracing_core.sampling.consistent_probability import ConsistentProbability
from kai_tracing_core.sampling.parent_based import ParentBased

if TYPE_CHECKING:
    from kai_tracing_core.processing.processor import SpanProcessor
    from kai_tracing_core.sampling.decisions import DecisionChannel
    from kai_tracing_core.sampling.tail_policies import TailPolicy

__all__ = ["Tail", "TailOptions"]


@dataclass(frozen=True, slots=True)
class TailOptions:
    """How much tail sampling holds back, and for how long. Times in seconds.

    At most `max_spans` spans wait for a verdict; over that the oldest trace is decided by what is known of it. So is
    a trace whose local root has not ended `max_wait` after its first span did. The last `max_decisions` verdicts are
    remembered for late spans. With a decision channel, a part of a trace waits at most `decision_wait` for the
    root's verdict, asked for every `poll_interval`.
    """

    max_spans: int = 20_000
    max_wait: float = 30.0
    max_decisions: int = 10_000
    decision_wait: float = 5.0
    poll_interval: float = 0.25
    exit_timeout: float = 5.0


class Tail(Sampler):
    """Records what `head` says, and keeps of it what `policy` says once the local root has ended.

    As a sampler it is `head`; the work is done by the `TailProcessor` that it puts in front of the queue. `head`
    should record much: by default everything, with `th:0`, so that the probability of the later choice can be stated
    in `tracestate`.
    """

    def __init__(
        self,
        policy: TailPolicy,
        *,
        head: Sampler | None = None,
        options: TailOptions | None = None,
        channel: DecisionChannel | None = None,
    ) -> None:
        self.policy = policy
        self.head = head or ParentBased(ConsistentProbability(1.0))
        self.options = options or TailOptions()
        self.channel = channel
        self.always = self.head.always
        self.drops_root = self.head.drops_root
        self.inherits_local = self.head.inherits_local

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """The decision of `head`."""
        return self.head.should_sample(request)

    def wrap_sink(self, sink: SpanProcessor) -> SpanProcessor:
        """What holds the spans back until the verdict."""
        from kai_tracing_core.sampling.tail_processor import TailProcessor

        return TailProcessor(sink, self.policy, self.options, self.channel)

    def close(self) -> None:
        """Close the head and the decision channel."""
        self.head.close()
        if self.channel is not None:
            self.channel.close()

    @property
    def description(self) -> str:
        """`Tail{Or, head=ParentBased{…}}`."""
        return f"Tail{{{type(self.policy).__name__}, head={self.head.description}}}"
