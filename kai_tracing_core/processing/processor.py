"""The contracts of what a finished span passes through, and of what takes it away."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from kai_tracing_core.records import NamedTuple

if TYPE_CHECKING:
    from kai_tracing_core.span import Span
    from kai_tracing_core.trace_context import TraceContext

__all__ = [
    "Deferred",
    "PayloadExporter",
    "Rejected",
    "Retryable",
    "SpanExporter",
    "SpanProcessor",
    "SpanQueue",
    "SpoolStats",
    "Stats",
    "TooLarge",
]


class SpoolStats(NamedTuple):
    """What became of spans on disk, those of earlier and other processes included.

    `pending` wait there now. Since this process started, `replayed` were delivered, `dropped` lost by cause, and
    `resent` sent again because the process that had begun to send them died: the backend may have those twice.
    """

    pending: int = 0
    replayed: int = 0
    resent: int = 0
    dropped: Mapping[str, int] = {}


class Stats(NamedTuple):
    """Where the spans of a provider are, counted since it was made (in a forked child: since the fork).

    `started` = running + `unsampled` + `ended`, and `ended` = `queued` + `exported` + `spooled` + the sum of
    `dropped`, which says how many were lost and to what cause. `retries` counts repeated requests, not spans.
    `spooled` went to the disk spool, of which `spool` tells the rest.
    """

    started: int = 0
    unsampled: int = 0
    ended: int = 0
    queued: int = 0
    exported: int = 0
    retries: int = 0
    spooled: int = 0
    export_seconds: float = 0.0
    dropped: Mapping[str, int] = {}
    last_error: str | None = None
    spool: SpoolStats | None = None


class SpanQueue(list[Any]):
    """Where a span that ends is put without asking anybody, while there is a permit for it.

    A list, since appending to one is what Python does fastest; who takes from its front needs a lock for that. Permits
    are a list as well: to take one costs half of what comparing the queue's length with a bound does, 1 % of a span.
    """

    __slots__ = ("_permits", "admit")

    def __init__(self) -> None:
        super().__init__()
        self._permits: list[None] = []
        self.admit = self._permits.pop  # takes a permit; raises IndexError where there is none

    def permit(self, count: int) -> None:
        """Have `count` more spans put here, and not those that earlier permits were left for."""
        self._permits[:] = [None] * count


class SpanProcessor:
    """Sees spans on the application's threads: must be quick, and what it raises is logged and swallowed."""

    trusted: ClassVar[bool] = False
    """Whether it never raises, not even where the name is no text, so that nothing need stand between it and a span."""

    inbox: SpanQueue | None = None
    """What sampled spans may be appended to in place of `on_end`, while it has permits."""

    successor: Callable[[Span], None] | None = None
    """What takes the spans that come after the shutdown; without one they are dropped."""

    def on_start(self, span: Span, parent: TraceContext | None) -> None:
        """A recorded span started."""

    def on_ending(self, span: Span) -> None:
        """A recorded span is about to end: the last chance to change it."""

    def on_end(self, span: Span) -> None:
        """A recorded span ended. It must not be changed any more."""

    def flush(self, timeout: float) -> bool:
        """Deliver what is held back, within `timeout` seconds. Returns whether all of it was dealt with."""
        return True

    def shutdown(self, timeout: float) -> bool:
        """Flush, then release threads and connections. Later spans are dropped."""
        return True

    def stats(self) -> Stats:
        """Where the spans are that were handed to `on_end`; what stands in front of the queue adds its own to that."""
        return Stats()


class SpanExporter(ABC):
    """Encodes batches of spans and sends them to a backend; called on one worker thread at a time."""

    @abstractmethod
    def export(self, spans: Sequence[Span], timeout: float) -> int:
        """Send the spans within `timeout` seconds. Returns how many the backend took in full knowledge but refused.

        Raises:
            Retryable: the backend did not take them now but may later.
            TooLarge: it would take fewer at a time.
            Rejected: it never will.
        """

    def due(self) -> float | None:
        """In how many seconds `catch_up` wants to be called; None while nothing waits."""
        return None

    def catch_up(self, timeout: float) -> None:
        """Send what an earlier `export` deferred, within `timeout` seconds. Raises nothing."""

    def spool_stats(self) -> SpoolStats | None:
        """What waits on disk; None for an exporter without a spool."""
        return None

    def after_fork(self) -> None:
        """Called in a forked child: let go of connections, which the parent still uses, without closing them."""

    def shutdown(self) -> None:
        """Close connections."""


class PayloadExporter(SpanExporter):
    """An exporter that sends each batch as one encoded payload, which can therefore also wait on disk (`spool`)."""

    format: str = "payload"
    """Names the encoding: a payload on disk is only sent by an exporter of the same provider and format."""

    @abstractmethod
    def encode(self, spans: Sequence[Span]) -> bytes:
        """The spans as one request body or message."""

    @abstractmethod
    def send(self, payload: bytes, timeout: float) -> int:
        """Send what `encode` gave; returns and raises what `SpanExporter.export` does."""

    def export(self, spans: Sequence[Span], timeout: float) -> int:
        """Encode the spans and send them."""
        return self.send(self.encode(spans), timeout)


class Deferred(Exception):
    """The batch is safe on disk and will be sent later."""


class Retryable(Exception):
    """The backend may take this batch later; `retry_after` seconds from now where it said so."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooLarge(Exception):
    """The backend would take the batch in smaller parts (HTTP 413, or a datagram's limit)."""


class Rejected(Exception):
    """The backend will never take this batch; `reason` is a short word for `Stats.dropped`."""

    def __init__(self, message: str, *, reason: str = "rejected") -> None:
        super().__init__(message)
        self.reason = reason
