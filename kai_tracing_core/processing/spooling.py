"""An exporter in front of another: while the backend is away, batches wait on disk instead of in memory."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from time import monotonic

from kai_tracing_core.processing.processor import (
    Deferred,
    PayloadExporter,
    Rejected,
    Retryable,
    SpanExporter,
    SpoolStats,
    TooLarge,
)
from kai_tracing_core.processing.retry import RetryPolicy
from kai_tracing_core.processing.spool import Spool, SpoolFile
from kai_tracing_core.span import Span

__all__ = ["SpoolingExporter"]

logger = logging.getLogger(__name__)


class SpoolingExporter(SpanExporter):
    """Sends through `exporter` and keeps in `spool` what it cannot send now; then sends that first, in order.

    Delivery is at least once: a batch whose sender died in the middle is sent again and counted in `Stats.resent`.
    """

    def __init__(self, exporter: PayloadExporter, spool: Spool, policy: RetryPolicy) -> None:
        self.exporter = exporter
        self.spool = spool
        self.replayed = 0
        self.refused: Counter[str] = Counter()
        self._policy = policy
        self._attempt = 0
        self._next_try = 0.0
        self._waiting = not spool.empty()

    def export(self, spans: Sequence[Span], timeout: float) -> int:
        """Send the spans or keep them on disk, behind what waits there already.

        Raises:
            Deferred: they are on disk.
            Retryable: they are not, because the disk failed, too.
            TooLarge, Rejected: as the exporter says.
        """
        deadline = monotonic() + timeout
        payload = self.exporter.encode(spans)
        if self._waiting:
            self.catch_up(timeout)
        if not self._waiting:
            try:
                return self.exporter.send(payload, max(0.1, deadline - monotonic()))
            except Retryable as error:
                self._back_off(error)
        try:
            self.spool.put(payload, len(spans))
        except OSError as error:
            raise Retryable(f"the spool {self.spool.directory} cannot be written: {error}") from error
        self._waiting = True
        raise Deferred

    def due(self) -> float | None:
        """Seconds until the backend is to be tried again; None while nothing waits on disk."""
        return max(0.0, self._next_try - monotonic()) if self._waiting else None

    def catch_up(self, timeout: float) -> None:
        """Send what waits on disk, oldest first, until the backend is away again or the time is up."""
        deadline = monotonic() + timeout
        while self._waiting and monotonic() >= self._next_try and monotonic() < deadline:
            try:
                with self.spool.oldest() as file:
                    if file is None:
                        # What is left, if anything, another process is sending.
                        self._waiting = False
                    else:
                        self._replay(file, deadline - monotonic())
            except OSError as error:
                self._back_off(Retryable(f"the spool cannot be read: {error}"))

    def _replay(self, file: SpoolFile, timeout: float) -> None:
        self.spool.begin(file)
        try:
            refused = min(file.count, self.exporter.send(file.payload, timeout))
        except Retryable as error:
            self.spool.put_back(file)
            self._back_off(error)
            return
        except TooLarge:
            self.refused["too_large"] += file.count
        except Rejected as error:
            self.refused[error.reason] += file.count
        except Exception:
            logger.exception("a batch from the spool cannot be sent; its %d spans are dropped", file.count)
            self.refused["export_error"] += file.count
        else:
            self.replayed += file.count - refused
            self.refused["rejected"] += refused
            self._attempt = 0
        self.spool.done(file)

    def _back_off(self, error: Retryable) -> None:
        self._next_try = monotonic() + self._policy.wait(self._attempt, error.retry_after)
        self._attempt += 1
        logger.debug("the backend is away, batches go to %s: %s", self.spool.directory, error)

    def spool_stats(self) -> SpoolStats:
        """What waits on disk and what became of it."""
        return SpoolStats(
            self.spool.pending(), self.replayed, self.spool.resent, dict(+(self.spool.dropped + self.refused))
        )

    def after_fork(self) -> None:
        """In a child: the exporter's own connection, and the same directory."""
        self.exporter.after_fork()
        self.replayed = self.spool.resent = 0
        self.refused.clear()
        self.spool.dropped.clear()

    def shutdown(self) -> None:
        """Close connections; what waits on disk is sent by the next process."""
        self.exporter.shutdown()
