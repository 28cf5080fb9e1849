"""The bounded queue between the application and the exporter, and the one thread that empties it.

On the application's thread a finished span costs an append to a list: no lock, and no wake-up while the worker is
busy or has enough time; while there are permits the span does even that itself (`SpanQueue`). The worker sleeps,
without polling, until there is something to do.
"""

from __future__ import annotations

import contextvars
import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from kai_tracing_core.lazy import lazy_logger
from kai_tracing_core.processing import lifecycle
from kai_tracing_core.processing.processor import SpanExporter, SpanProcessor, SpanQueue, Stats
from kai_tracing_core.processing.retry import Delivery, RetryPolicy
from kai_tracing_core.records import NamedTuple
from kai_tracing_core.span import Span, SpanKind, SpanStatusCode
from kai_tracing_core.trace_context import SAMPLED

__all__ = ["BatchOptions", "BatchProcessor"]

logger = lazy_logger(__name__)

_NEVER = 1 << 29  # what Python compares fastest: an integer of one digit
_PERMITS = 4096  # at a time
_EVICTION_TRIES = 16
_EVICTION_WAIT = 0.01  # seconds
_BOOKKEEPING = 0.25  # seconds


class BatchOptions(NamedTuple):
    """How spans are queued and sent (OpenTelemetry specification, SDK, "Batching processor"). Times in seconds.

    `max_queue` spans wait at most; `max_batch` are sent together, at the latest `delay` after the first of them
    ended. One request may take `export_timeout`; a batch is retried for `retry.max_elapsed` in all; at exit all that
    waits gets `exit_timeout`. When the queue is full, spans with an error and those that took `slow` seconds or more
    take the place of ordinary ones.
    """

    max_queue: int = 2048
    max_batch: int = 512
    delay: float = 5.0
    export_timeout: float = 30.0
    exit_timeout: float = 5.0
    slow: float = 1.0
    retry: RetryPolicy = RetryPolicy()


class _Marker:
    """Stands in the queue behind the spans that a `flush` waits for."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = threading.Event()


class BatchProcessor(SpanProcessor):
    """Queues sampled spans and hands them to the exporter in batches, on a thread of its own."""

    trusted = True

    def __init__(
        self,
        exporter: SpanExporter,
        options: BatchOptions | None = None,
        *,
        name: str = "exporter",
        quiet: Callable[[], Any] = lambda: None,
    ) -> None:
        """`quiet` is called first on the worker thread, to keep what the exporter does there from being traced."""
        self.exporter = exporter
        self.options = options or BatchOptions()
        self._name = name
        self._quiet = quiet
        self._capacity = self.options.max_queue
        self.inbox: SpanQueue = SpanQueue()
        self._reset()
        lifecycle.register(self)

    def _reset(self) -> None:
        self.inbox.clear()
        self._taking = threading.Lock()
        self._in_flight: list[Span] = []
        # With the keys there already, counting up is atomic.
        self._dropped: Counter[str] = Counter(queue_full=0, shut_down=0, not_sampled=0)
        self._worker: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closing = threading.Event()
        self._closed = False
        # A lock as a bell: unlike Event.set, releasing it is safe in a signal handler and in __del__.
        self._bell = threading.Lock()
        self._bell.acquire()
        self._set_wake(1)
        self._delivery = Delivery(self.exporter, self.options.retry, self.options.export_timeout, self._closing)

    # -- on the application's threads --------------------------------------------------------------------------------

    def on_end(self, span: Span) -> None:
        """Queue the span, or count it as dropped when the queue is full."""
        queue = self.inbox
        if len(queue) >= self._capacity or not span._shared.flags & SAMPLED:
            self._refuse(span)
            return
        queue.append(span)
        if len(queue) >= self._wake_at:
            self._wake()

    def _set_wake(self, length: int) -> None:
        """Have a span ring the bell that makes the queue this long.

        1 while the worker sleeps, a batch while it waits for a batch to fill, never while it is at work.
        """
        self._wake_at = length
        self._permit()

    def _permit(self) -> None:
        """Have spans queue themselves until the bell is to be rung or the queue is full."""
        inbox = self.inbox
        inbox.permit(0)  # who comes while this counts goes through `on_end`, which looks at the queue itself
        inbox.permit(min(self._wake_at - 1 - len(inbox), self._capacity - len(inbox), _PERMITS))
        if self._closed:  # by another thread, while this was set
            inbox.permit(0)

    def _refuse(self, span: Span) -> None:
        if not span._flags & SAMPLED:
            self._dropped["not_sampled"] += 1
        elif self._closed:
            if self.successor is not None:
                self.successor(span)
            else:
                self._dropped["shut_down"] += 1
        else:
            self._dropped["queue_full"] += 1
            if self._is_valuable(span) and self._evict():
                self.inbox.append(span)

    def _is_valuable(self, span: Span) -> bool:
        return span._status == SpanStatusCode.ERROR or span._end - span._start >= self.options.slow * 1e9

    def _evict(self) -> bool:
        """Take the first ordinary span out of the full queue; valuable ones at its head move to its end."""
        queue = self.inbox
        # Whoever holds it makes room; but it may be this very thread, interrupted by a signal.
        if not self._taking.acquire(timeout=_EVICTION_WAIT):
            return False  # pragma: no cover - it takes a signal within these few lines
        try:
            for _ in range(_EVICTION_TRIES):
                if not queue or isinstance(queue[0], _Marker):
                    return False
                oldest = queue.pop(0)
                if not self._is_valuable(oldest):
                    return True
                queue.append(oldest)
        finally:
            self._taking.release()
        return False

    def resume(self) -> None:
        """Start sending what an earlier process left on disk, if anything, without waiting for a span."""
        if self.exporter.due() is not None:
            self._wake()

    def _wake(self) -> None:
        self._set_wake(_NEVER)
        # A worker that starts now looks at the queue anyway; ringing would only make its first batch a small one.
        if self._worker is not None or not self._start_worker():
            self._ring()

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it is ringing already

    def _start_worker(self) -> bool:
        if not self._starting.acquire(blocking=False):
            return False
        try:
            if self._worker is None and not self._closed:
                worker = threading.Thread(target=self._run, name=f"kai-tracing-{self._name}", daemon=True)
                worker.start()
                self._worker = worker
                return True
        except RuntimeError as error:  # no thread can be started while the interpreter shuts down
            logger.debug("no worker thread: %s; the queue is emptied by flush and at exit", error)
            self._set_wake(len(self.inbox) + self.options.max_batch)  # then it is tried again
        finally:
            self._starting.release()
        return False

    def flush(self, timeout: float) -> bool:
        """Deliver all that ended before this call, within `timeout` seconds. Returns whether it was dealt with."""
        if self._closed or (self._worker is None and not self.inbox):
            return True
        deadline = monotonic() + timeout
        marker = _Marker()
        self.inbox.append(marker)
        self._wake()
        if self._worker is None:
            self._drain_here(deadline)
        if self._closing.is_set():  # a shutdown overtook this and may not have seen the marker
            return marker.done.is_set()
        return marker.done.wait(max(0.0, deadline - monotonic()))

    def shutdown(self, timeout: float) -> bool:
        """Deliver what waits within `timeout` seconds, count the rest as dropped, and end the thread."""
        if self._closed:
            return True
        self._closed = True
        self._capacity = 0
        self.inbox.permit(0)
        deadline = monotonic() + timeout
        self._closing.set()
        self._delivery.deadline = deadline
        self._drain_here(deadline)
        worker = self._worker
        if worker is not None:
            self._ring()
            # The worker gives up at the deadline, too, and then has to count what it held.
            worker.join(max(0.0, deadline - monotonic()) + _BOOKKEEPING)
        stuck = worker is not None and worker.is_alive()
        left = self._clear()
        self._dropped["shutdown"] += left
        if stuck or left:
            left += len(self._in_flight)
            logger.warning("%s: %d spans could not be delivered before the shutdown", self._name, left)
        if not stuck:
            self.exporter.shutdown()
        return left == 0

    def _clear(self) -> int:
        left = 0
        while self.inbox:
            spans: list[Span] = []
            marker = self._take_into(spans)
            left += len(spans)
            if marker is not None:
                marker.done.set()
        return left

    def _drain_here(self, deadline: float) -> None:
        """Send what waits, on this thread, unless there is a worker or somebody else does it."""
        if not self._starting.acquire(timeout=max(0.0, deadline - monotonic())):
            return  # pragma: no cover - another thread started a worker until the time was up
        try:
            if self._worker is None:
                self._delivery.deadline = deadline
                contextvars.copy_context().run(self._drain, deadline)
                self._delivery.deadline = deadline if self._closed else math.inf
        finally:
            self._starting.release()

    def _drain(self, deadline: float) -> None:
        self._quiet()
        while self.inbox and monotonic() < deadline:
            self._send_batch()

    def stats(self) -> Stats:
        """Where the spans are that were handed to `on_end`."""
        delivery = self._delivery
        queued = sum(1 for item in list(self.inbox) if not isinstance(item, _Marker)) + len(self._in_flight)
        dropped = self._dropped + delivery.dropped
        return Stats(
            ended=queued + delivery.exported + delivery.deferred + sum(dropped.values()),
            queued=queued,
            exported=delivery.exported,
            spooled=delivery.deferred,
            retries=delivery.retries,
            export_seconds=delivery.seconds,
            dropped=dict(dropped),
            last_error=delivery.last_error,
            spool=self.exporter.spool_stats(),
        )

    # -- on the worker thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._quiet()
        bell, queue, options = self._bell, self.inbox, self.options
        while not self._closed:
            if not queue:
                self._set_wake(1)
                # A span may have ended between the look at the queue and the line above, without ringing.
                if not queue:
                    due = self.exporter.due()
                    bell.acquire(timeout=-1 if due is None else due)
            self._set_wake(options.max_batch)
            bell.acquire(blocking=False)  # what it has rung for until now is in the queue, and looked at next
            if 0 < len(queue) < options.max_batch and not self._closed and not self._flush_waits():
                bell.acquire(timeout=options.delay)
            self._set_wake(_NEVER)
            self._send_pending()
            if self.exporter.due() == 0:
                self.exporter.catch_up(options.export_timeout)
        while queue and monotonic() < self._delivery.deadline:
            self._send_batch()

    def _flush_waits(self) -> bool:
        return any(isinstance(item, _Marker) for item in list(self.inbox))

    def _send_pending(self) -> None:
        """Send what is queued now; what comes in meanwhile only if it fills a batch."""
        self._send_batch()
        while len(self.inbox) >= self.options.max_batch or self._flush_waits():
            self._send_batch()

    def _send_batch(self) -> None:
        batch: list[Span] = []
        self._in_flight = batch
        marker = self._take_into(batch)
        if batch:
            self._deliver(batch)
        if marker is not None:
            marker.done.set()

    def _take_into(self, batch: list[Span]) -> _Marker | None:
        """Move what waits into the empty batch until that is full or a marker comes, which is returned."""
        queue, marker = self.inbox, None
        with self._taking:
            found = queue[: self.options.max_batch]
            if _Marker in set(map(type, found)):
                marker = next(item for item in found if type(item) is _Marker)
                del found[found.index(marker) :]
            batch += found
            del queue[: len(found) + (marker is not None)]
        self._permit()
        for span in batch:
            if span._end < span._start or type(span.name) is not str or type(span._kind) is not SpanKind:
                span._mend()
        return marker

    def _deliver(self, batch: Sequence[Span]) -> None:
        try:
            self._delivery.deliver(batch)
        except BaseException:  # the thread must outlive whatever an exporter does
            self._delivery.dropped["export_error"] += len(batch)
            logger.exception("%s: %d spans lost", self._name, len(batch))
        finally:
            self._in_flight = []

    # -- fork --------------------------------------------------------------------------------------------------------

    def after_fork(self) -> None:
        """In a forked child: an empty queue (the parent sends its spans), new locks, and no thread yet."""
        closed = self._closed
        self._reset()
        self._closed = closed
        self.exporter.after_fork()
