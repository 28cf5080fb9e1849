"""Delivering one batch: retry with jitter, splitting, and counting what is lost."""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from collections.abc import Sequence
from time import monotonic, sleep, time

from kai_tracing_core.lazy import lazy_logger
from kai_tracing_core.processing.processor import Deferred, Rejected, Retryable, SpanExporter, TooLarge
from kai_tracing_core.records import NamedTuple
from kai_tracing_core.span import Span

__all__ = ["Delivery", "RetryPolicy", "parse_retry_after"]

logger = lazy_logger(__name__)

_QUIET_SECONDS = 60.0
_CLOSING_WAIT = 0.1
"""The longest wait at shutdown, in seconds: little time is left, but the backend is not hammered either."""


class RetryPolicy(NamedTuple):
    """Exponential back-off with full jitter, in seconds; a server's Retry-After goes first.

    `max_elapsed` bounds the whole of one batch's attempts, waiting included: a batch that would have to wait longer is
    given up. A Retry-After holds for the batches that follow, too.
    """

    initial: float = 0.5
    maximum: float = 10.0
    multiplier: float = 2.0
    max_elapsed: float = 60.0

    def wait(self, attempt: int, retry_after: float | None) -> float:
        """How long to wait before the attempt after number `attempt` (from 0)."""
        if retry_after is not None:
            return max(0.0, retry_after)
        ceiling = min(self.maximum, self.initial * self.multiplier**attempt)
        return ceiling * (0.5 + random.random() / 2)


class Delivery:
    """Hands batches to the exporter until it took them or the time is up, and keeps the counts."""

    def __init__(self, exporter: SpanExporter, policy: RetryPolicy, timeout: float, closing: threading.Event) -> None:
        self._exporter = exporter
        self._policy = policy
        self._timeout = timeout
        self._closing = closing
        self.deadline = math.inf
        self.exported = 0
        self.deferred = 0
        self.retries = 0
        self.seconds = 0.0
        self.dropped: Counter[str] = Counter()
        self.last_error: str | None = None
        self._peace_until, self._peace_reason = -math.inf, ""
        self._quiet_until = {False: -math.inf, True: -math.inf}

    def deliver(self, batch: Sequence[Span]) -> None:
        """Deliver the batch or count why not. Raises nothing that the exporter's contract names."""
        started = monotonic()
        try:
            self._attempts(batch, started + self._policy.max_elapsed)
        finally:
            self.seconds += monotonic() - started

    def _attempts(self, batch: Sequence[Span], give_up: float) -> None:
        attempt = 0
        error = self._peace()
        asked = error is None
        if asked:
            error = self._attempt(batch, give_up)
        while error is not None:
            wait = self._policy.wait(attempt, error.retry_after)
            # The deadline is set after `closing` and read before it: whoever sees it sees the shutdown, too.
            end = min(give_up, self.deadline)
            closing = self._closing.is_set()
            if closing:
                wait = min(wait, _CLOSING_WAIT)
            if monotonic() + wait > end:
                self._lose(len(batch), "unreachable", str(error))
                return
            self._complain(str(error))
            self.retries += asked
            attempt += asked
            if closing:
                sleep(wait)
            else:
                self._closing.wait(wait)  # a shutdown cuts it short
            asked = True
            error = self._attempt(batch, give_up)

    def _peace(self) -> Retryable | None:
        """What the backend asked for when it had an earlier batch: to be left alone until a time that is not over."""
        left = self._peace_until - monotonic()
        if left <= 0 or self._closing.is_set():
            return None
        return Retryable(f"not sent, as asked before: {self._peace_reason}", retry_after=left)

    def _attempt(self, batch: Sequence[Span], give_up: float) -> Retryable | None:
        """Try once; the error if trying again may help."""
        remaining = min(self._timeout, self.deadline - monotonic())
        if remaining <= 0:
            self._lose(len(batch), "shutdown", "no time left at shutdown")
            return None
        try:
            refused = min(len(batch), self._exporter.export(batch, remaining))
        except Retryable as error:
            if error.retry_after:
                self._peace_until, self._peace_reason = monotonic() + error.retry_after, str(error)
            return error
        except Deferred:
            self.deferred += len(batch)
        except TooLarge as error:
            self._split(batch, give_up, "too_large", str(error))
        except Rejected as error:
            self._lose(len(batch), error.reason, str(error))
        except Exception as error:
            # One span that cannot be encoded must not take its neighbours along.
            logger.debug("export failed", exc_info=True)
            self._split(batch, give_up, "export_error", f"{type(error).__name__}: {error}")
        else:
            self.exported += len(batch) - refused
            if refused:
                self._lose(refused, "rejected", f"the backend refused {refused} of {len(batch)} spans")
        return None

    def _split(self, batch: Sequence[Span], give_up: float, reason: str, error: str) -> None:
        if len(batch) == 1:
            self._lose(len(batch), reason, error)
            return
        half = len(batch) // 2
        self._attempts(batch[:half], give_up)
        self._attempts(batch[half:], give_up)

    def _lose(self, count: int, reason: str, error: str) -> None:
        self.dropped[reason] += count
        self._complain(f"{count} {'span' if count == 1 else 'spans'} dropped ({reason}): {error}", loss=True)

    def _complain(self, error: str, *, loss: bool = False) -> None:
        self.last_error = error
        now = monotonic()
        # The last word of a process is not held back, nor is a loss because of the failed attempts before it.
        if now >= self._quiet_until[loss] or (loss and self._closing.is_set()):
            self._quiet_until[loss] = now + _QUIET_SECONDS
            logger.warning("%s (repeats are not logged for %d s)", error, _QUIET_SECONDS)
        else:
            logger.debug("%s", error)


def parse_retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, a number or a date (RFC 9110, section 10.2.3); None if it says none."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        pass
    else:
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        from email.utils import parsedate_to_datetime  # with half of the network's modules, and seldom needed

        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except (ValueError, OverflowError):
        return None
