"""The contract of a sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from kai_tracing_core.records import NamedTuple

if TYPE_CHECKING:
    from kai_tracing_core.processing.processor import SpanProcessor
    from kai_tracing_core.span import Link, SpanKind
    from kai_tracing_core.trace_context import TraceContext

__all__ = ["Sampler", "SamplingDecision", "SamplingRequest", "SamplingResult"]


class SamplingDecision(IntEnum):
    """What becomes of a span (OpenTelemetry specification, SDK, "Sampler"). Sampled without recording is no choice."""

    DROP = 0
    RECORD_ONLY = 1
    RECORD_AND_SAMPLE = 2


class SamplingRequest(NamedTuple):
    """What a sampler is asked about: a span that is about to start.

    `parent` is None for the root of a trace; `trace_id` is known in any case. The attributes are those given at the
    start, as they were given.
    """

    trace_id: int
    name: str
    kind: SpanKind
    attributes: Mapping[str, Any]
    parent: TraceContext | None = None
    links: Sequence[Link | TraceContext] = ()

    @property
    def trace_state(self) -> str:
        """The parent's `tracestate`, empty for a root."""
        return self.parent.trace_state if self.parent is not None else ""


class SamplingResult(NamedTuple):
    """A sampler's answer.

    `trace_state` None leaves the parent's as it is. `adjusted_count` is how many spans the sampled one stands for,
    1 / its probability; None where that is not known.
    """

    decision: SamplingDecision
    attributes: Mapping[str, Any] | None = None
    trace_state: str | None = None
    adjusted_count: float | None = None


class Sampler(ABC):
    """Decides, when a span starts, whether it is recorded.

    Must be thread-safe and must not block. What it raises is logged once and counts as a decision to record.
    """

    inherits_local: bool = False
    """Whether a span with a parent in this process always gets its parent's decision, so that it need not be asked."""

    always: bool = False
    """Whether it records every root, so that it need not be asked about one."""

    drops_root: Callable[[int], bool] | None = None
    """Where the decision about a root follows from its trace id alone: whether the root is dropped.

    Then nothing else is asked, which halves what an unsampled span costs. None where more than the id counts.
    """

    @abstractmethod
    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """The decision for the span that `request` describes."""

    @property
    @abstractmethod
    def description(self) -> str:
        """What it is and does, for people: `ParentBased{root=AlwaysOn}`."""

    def wrap_sink(self, sink: SpanProcessor) -> SpanProcessor:
        """What stands in front of `sink`, the queue, where the last word falls after the span: tail sampling.

        Called once, when a provider is made of this sampler; by default nothing stands there.
        """
        return sink

    def close(self) -> None:
        """Release threads and connections; called when the provider shuts down."""

    def __repr__(self) -> str:
        return self.description
