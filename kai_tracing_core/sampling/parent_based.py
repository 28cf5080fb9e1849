"""The sampler that keeps traces whole: it follows the parent's decision."""

from __future__ import annotations

from kai_tracing_core.sampling.always import AlwaysOff, AlwaysOn
from kai_tracing_core.sampling.base import Sampler, SamplingRequest, SamplingResult

__all__ = ["ParentBased"]


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
        self.inherits_local = type(self.local_parent_sampled) is AlwaysOn and (
            type(self.local_parent_not_sampled) is AlwaysOff
        )

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        """The decision of the branch that the parent selects."""
        parent = request.parent
        if parent is None or not parent.has_decision:
            return self.root.should_sample(request)
        if parent.is_remote:
            branch = self.remote_parent_sampled if parent.is_sampled else self.remote_parent_not_sampled
        else:
            branch = self.local_parent_sampled if parent.is_sampled else self.local_parent_not_sampled
        return branch.should_sample(request)

    def close(self) -> None:
        """Close all five."""
        for sampler in self._branches():
            sampler.close()

    @property
    def description(self) -> str:
        """`ParentBased{root=…}`."""
        return f"ParentBased{{root={self.root.description}}}"

    def _branches(self) -> tuple[Sampler, ...]:
        return (
            self.root,
            self.remote_parent_sampled,
            self.remote_parent_not_sampled,
            self.local_parent_sampled,
            self.local_parent_not_sampled,
        )
