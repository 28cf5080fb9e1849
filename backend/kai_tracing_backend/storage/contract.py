"""The contract of a span store; `kai_tracing_backend.testing.store_contract` has the tests that each one passes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Protocol

import pyarrow as pa

from kai_tracing_backend.language.nodes import Condition, TraceQuery
from kai_tracing_backend.model import (
    AttributeKey,
    AttributeValue,
    DayStatistics,
    Edge,
    Operation,
    Rate,
    SearchPage,
    StoredSpan,
)
from kai_tracing_backend.storage.forgetting import Retention

__all__ = [
    "QueryCancelledError",
    "QueryTimeoutError",
    "QueryTooLargeError",
    "SpanStore",
    "StoreError",
    "StoreFullError",
]


class StoreError(Exception):
    """The store cannot be opened, read or written; the message says why and what to do."""


class StoreFullError(StoreError):
    """There is no room. Nothing of the batch was stored; it can be written again when there is some."""


class QueryTimeoutError(StoreError):
    """A read took longer than its `Cancellation` allows."""


class QueryTooLargeError(StoreError):
    """A read fetched more rows than its `Cancellation` allows."""


class QueryCancelledError(StoreError):
    """A read was ended by `Cancellation.cancel`."""


class SpanStore(Protocol):
    """Keeps spans and answers for them. Every method may be called from any thread.

    Reads obey the `Cancellation` of their context.

    Windows are `start` (included) to `end` (excluded), nanoseconds since the epoch.
    """

    @property
    def retention(self) -> Retention:
        """How it forgets."""

    def write(self, batch: pa.Table, *, counted: bool = True) -> int:
        """Store the spans of a batch (`columns.BATCH`); when it returns they outlive the process and the machine.

        A span that is there already (the same trace id, span id, kind and start) is left out, and counted nowhere
        again. So is one with the flag `columns.ARRIVAL` where another with it has the same ids, kind and service and
        arrived within a day. Returns how many were new. What is not `counted` adds nothing to rates and dependencies:
        spans that come back from an archive, which were counted when they came first.

        Raises:
            StoreFullError: there is no room; a later call may succeed.
            StoreError: it cannot be written.
        """

    def trace(self, trace_id: str) -> list[StoredSpan]:
        """All spans of a trace by start, whenever they came; none where the trace is not known.

        Raises:
            ValueError: the id is not hexadecimal or longer than 32 digits. A shorter one has zeros on the left.
        """

    def traces(self, trace_ids: Sequence[str]) -> list[list[StoredSpan]]:
        """Several traces as `trace` gives them, in this order; those that are not known are left out.

        Raises:
            ValueError: an id is not hexadecimal.
        """

    def trace_ids(self, prefix: str, *, limit: int = 20) -> list[str]:
        """The ids, of 32 digits, that begin so; the first `limit` of them by number.

        Ids of 64 bits are found by how their own 16 digits begin, too.

        Raises:
            ValueError: the prefix is not 1 to 32 hexadecimal digits.
        """

    def search(
        self,
        query: TraceQuery,
        start: int,
        end: int,
        *,
        limit: int = 20,
        cursor: str | None = None,
        spans_per_set: int = 3,
    ) -> SearchPage:
        """The traces in which the query finds a span that started in the window, newest first.

        A query is asked of whole traces, whatever of them is in the window. Of two traces the one is newer whose first
        found span in the window started later. `cursor` is of an earlier page of the same search: what arrives while
        somebody turns the pages is neither shown twice nor in place of others. `spans_per_set` is how many spans of
        each set are answered.

        Raises:
            ValueError: the cursor is none of ours.
        """

    def attribute_keys(
        self,
        start: int,
        end: int,
        *,
        where: Condition | None = None,
        scope: str = "",
        prefix: str = "",
        limit: int = 1_000,
    ) -> list[AttributeKey]:
        """The attributes that spans of the window and their resources have, the most frequent first.

        With `where` of those spans that fulfil it; where that cannot be told of the span alone (as of the duration of
        its trace, or of what is in its events), as if they did. `scope` is span, resource, or both where it is empty;
        `prefix` is how the key begins.
        """

    def attribute_values(
        self,
        key: str,
        start: int,
        end: int,
        *,
        where: Condition | None = None,
        scope: str = "",
        prefix: str = "",
        limit: int = 1_000,
    ) -> list[AttributeValue]:
        """The values of an attribute in the window whose text begins with `prefix`, the most frequent first.

        `where` as for `attribute_keys`. `scope` is span, resource, or both where it is empty; with "intrinsic" the key
        is `name` or `statusMessage`. Of arrays, maps and bytes there are none but in resources. Of a day a store may
        leave out what is not among its 10,000 most frequent values.
        """

    def services(self, start: int = 0, end: int = 1 << 62) -> list[str]:
        """The services that spans came from, by name. To the minute."""

    def operations(self, service: str, start: int = 0, end: int = 1 << 62) -> list[Operation]:
        """What a service does, by name and kind. To the minute."""

    def rates(self, start: int, end: int) -> list[Rate]:
        """Rate, errors and durations of every operation. To the minute; they outlive their spans."""

    def dependencies(self, start: int, end: int, *, peers: bool = False, loops: bool = False) -> list[Edge]:
        """Who calls whom: spans whose parent (for consumers: or link) is in another service, whichever came first.

        To the minute in which the called span began; they outlive their spans. With `peers` also what sends no spans:
        the databases, queues and other services that client, producer and consumer spans name. A call that was counted
        to such a peer no longer is when its other side arrives. With `loops` also the calls of a service to itself: a
        server's span under a client's or a server's.
        """

    def statistics(self) -> list[DayStatistics]:
        """How many spans and traces there are, and what they take on the disk, by day, newest first; quick."""

    def days(self) -> Sequence[date]:
        """The days (UTC, by the start of the span) that there are spans of."""

    def delete_day(self, day: date) -> None:
        """Drop the spans of a day and free what they took. Rates and dependencies stay. Nothing for an unknown day."""

    def close(self) -> None:
        """Give back files and locks. Later calls of other methods raise StoreError."""
