"""What spans pass through between a receiver and the write queue."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from kai_tracing_backend.metrics import Metrics
from kai_tracing_backend.sampling.journal import Journal
from kai_tracing_backend.sampling.strategies import Strategies
from kai_tracing_backend.sampling.tail import TailOptions, TailSampling
from kai_tracing_backend.sampling.tail_settings import TailTable
from kai_tracing_backend.sampling.traffic import Observed
from kai_tracing_backend.storage.contract import StoreError
from kai_tracing_backend.storage.queue import Stage
from kai_tracing_backend.tenants import Tenant
from kai_tracing_core.sampling.tail_policies import Probability

__all__ = ["Pipelines"]

logger = logging.getLogger(__name__)


class Pipelines:
    """Builds the stages of each tenant. `folder` says where a tenant keeps its data."""

    def __init__(
        self, folder: Callable[[str], Path], metrics: Metrics, tail: TailTable | None, strategies: Strategies
    ) -> None:
        self._folder = folder
        self._tail = tail
        self._strategies = strategies
        self._stages: dict[str, TailSampling] = {}
        if tail is not None:
            metrics.watch("tail_waiting_traces", "Traces without a verdict", ["tenant"], lambda: self._held(0))
            metrics.watch("tail_held_bytes", "Bytes that tail sampling holds", ["tenant"], lambda: self._held(1))

    def _held(self, which: int) -> list[tuple[tuple[str], float]]:
        return [((name,), stage.held[which]) for name, stage in list(self._stages.items())]

    def build(self, tenant: Tenant) -> Stage:
        """The stages in front of the tenant's queue.

        Raises:
            StoreError: the journal of tail sampling cannot be used.
        """
        stage, traffic = self._sampled(tenant), self._strategies.traffic(tenant.name)
        return stage if traffic is None else Observed(traffic, stage)

    def _sampled(self, tenant: Tenant) -> Stage:
        folder = self._folder(tenant.name) / "tail"
        if self._tail is None:
            if folder.is_dir():
                _store_rest(Journal(folder), tenant)
            return tenant.queue
        stage = self._stages[tenant.name] = TailSampling(
            self._tail.policy(),
            Journal(folder),
            tenant.queue,
            self._tail.options(),
            meter=tenant.metrics.tail_meter(tenant.name),
            queue_bytes=tenant.queue.max_bytes,
        )
        return stage


def _store_rest(journal: Journal, tenant: Tenant) -> None:
    """Tail sampling was on and is off: what waits for a verdict is kept, and verdicts that were reached hold."""
    stage = TailSampling(Probability(1.0), journal, tenant.queue, TailOptions(root_wait=0.0, max_wait=0.0))
    if stage.held[0]:
        logger.warning("tail sampling is off now; %d traces that waited for it are kept", stage.held[0])
    try:
        stage.finish()
    except StoreError as error:
        logger.error("%s", error)
