"""The sampler that keeps traces whole: it follows the parent's decision."""

from __future__ import annotations

from kai_tracing_core.sampling.always import AlwaysOff, AlwaysOn
from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult
from kai_tracing_core.sampling.threshold import known_count, read, with_threshold
from kai_tracing_core.trace_context import TraceContext

__all__ = ["ParentBased"]

# Without a count: the span stands for as many as its parent does, which the pipeline looks up.
_FOLLOW = SamplingResult(SamplingDecision.RECORD_AND_SAMPLE)


class ParentBased(Sampler):
    """Follows the parent's decision and asks `root` about new traces (OpenTelemetry specification, SDK, "ParentBased").

    The other four branches may be given, too. A parent that carries no decision (B3 ids without one) is asked about
    as if it were a root.
    """

    def __init__(
        self,
        root: Sampler,
        *,
        remote_parent_sampled: Sampler | None = None,
        remote_parent_not_sampled: Sampler | None = None,
        local_parent_sampled: Sampler | None = None,
        local_parent_not_sampled: Sampler | None = None,
    ) -> None:
        self.root = root
        self.remote_parent_sampled = remote_parent_sampled or AlwaysOn()
        self.remote_parent_not_sampled = remote_parent_not_sampled or AlwaysOff()
        self.local_parent_sampled = local_parent_sampled or AlwaysOn()
        self.local_parent_not_sampled = local_parent_not_sampled or AlwaysOff()
        self.always = root.always
        self.drops_root = root.drops_root
        self.inherits_local = type(self.local_parent_sampled) is AlwaysOn and (
            type(self.local_parent_not_sampled) is AlwaysOff
        )

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """The decision of the branch that the parent selects."""
        parent = request.parent
        if parent is None or not parent.has_decision:
            return self.root.should_sample(request)
        if parent.is_remote:
            sampled, not_sampled = self.remote_parent_sampled, self.remote_parent_not_sampled
        else:
            sampled, not_sampled = self.local_parent_sampled, self.local_parent_not_sampled
        if not parent.is_sampled:
            return _apart(not_sampled.should_sample(request), request)
        if type(not_sampled) is not AlwaysOff:
            # What the parent left out is counted by itself, so what it kept stands for itself only.
            return _apart(sampled.should_sample(request), request)
        if type(sampled) is AlwaysOn:
            return _FOLLOW
        return _second_stage(sampled.should_sample(request), request, parent)

    def close(self) -> None:
        """Close all five."""
        for sampler in self._branches():
            sampler.close()

    @property
    def description(self) -> str:
        """`ParentBased{root=…}`, with the branches that are not the default."""
        defaults = (None, AlwaysOn, AlwaysOff, AlwaysOn, AlwaysOff)
        names = ("root", "remote_parent_sampled", "remote_parent_not_sampled", "local_parent_sampled")
        shown = [
            f"{name}={sampler.description}"
            for name, sampler, default in zip(
                (*names, "local_parent_not_sampled"), self._branches(), defaults, strict=True
            )
            if type(sampler) is not default
        ]
        return f"ParentBased{{{', '.join(shown)}}}"

    def _branches(self) -> tuple[Sampler, ...]:
        return (
            self.root,
            self.remote_parent_sampled,
            self.remote_parent_not_sampled,
            self.local_parent_sampled,
            self.local_parent_not_sampled,
        )


def _states_threshold(result: SamplingResult) -> bool:
    return result.trace_state is not None and read(result.trace_state).th is not None


def _without_threshold(result: SamplingResult, request: SamplingRequest, count: float | None) -> SamplingResult:
    state = request.trace_state if result.trace_state is None else result.trace_state
    return result._replace(trace_state=with_threshold(state, None), adjusted_count=count)


def _second_stage(result: SamplingResult, request: SamplingRequest, parent: TraceContext) -> SamplingResult:
    """A choice among what the parent kept: the counts multiply, unless the sampler raised the parent's threshold."""
    if result.decision == SamplingDecision.DROP or result.adjusted_count is None:
        return result
    of_parent = parent._weight
    if of_parent is None:
        of_parent = known_count(parent._trace_state, request.trace_id)
    if _states_threshold(result) and read(parent._trace_state).th is not None:
        return result
    return _without_threshold(result, request, (of_parent or 1.0) * result.adjusted_count)


def _apart(result: SamplingResult, request: SamplingRequest) -> SamplingResult:
    """A choice among the traces that the parent kept, or left out, alone: `th` would tell of both, so it is erased.

    A sampler that goes by the trace's own randomness has no fair choice there any more, and its count is not known.
    """
    if result.decision == SamplingDecision.DROP:
        return result
    return _without_threshold(result, request, 1.0 if _states_threshold(result) else result.adjusted_count or 1.0)
