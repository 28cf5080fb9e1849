"""The part of a span that crosses process boundaries, and what a trace's spans have in common within one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "DEBUG",
    "DECISION_ONLY",
    "DEFERRED",
    "PARENT_REMOTE",
    "RANDOM",
    "SAMPLED",
    "WIRE_FLAGS",
    "Shared",
    "TraceContext",
]

SAMPLED = 0x01
"""W3C Trace Context level 2, section 3.2.2.5.1: the caller may have recorded trace data."""
RANDOM = 0x02
"""W3C Trace Context level 2, section 3.2.2.5.2: the rightmost 7 bytes of the trace id are uniformly random."""
WIRE_FLAGS = SAMPLED | RANDOM

# Not on the wire as such; formats that know the notion translate it.
DEBUG = 0x100
"""B3's and Jaeger's debug: record whatever the sampler says."""
DEFERRED = 0x200
"""The sender left the sampling decision to us (B3 ids without a decision)."""
DECISION_ONLY = 0x800
"""A sampling decision came without ids (`b3: 0`): it holds for the trace that starts here."""
PARENT_REMOTE = 0x400
"""The parent of the span that carries this flag lives in another process."""


class Shared:
    """What the spans of a trace have in common in this process: a child takes over one reference instead of fields.

    It is never changed: a span for which something of it changes gets another one.
    """

    __slots__ = ("flags", "flags_onward", "for_children", "owner", "sink", "trace_state", "weight")

    def __init__(
        self,
        flags: int = 0,
        trace_state: str = "",
        weight: float | None = None,
        *,
        sink: Any = None,
        owner: Any = None,
        for_children: Shared | None = None,
    ) -> None:
        self.flags = flags
        self.flags_onward = flags & ~PARENT_REMOTE  # those of a context that stands for the span
        self.trace_state = trace_state
        self.weight = weight  # adjusted count; None is 1
        self.sink = sink  # where a span goes when it ends, a `SpanPipeline`; None where nothing is recorded
        self.owner = owner  # the pipeline whose children need not ask its sampler again, if any
        self.for_children = for_children  # what they take over where it is not this: the parent's parent is remote


class TraceContext:
    """The identity of a span as it is propagated: W3C Trace Context's fields and the baggage that came along.

    Immutable by convention. `trace_id` (32 digits) and `span_id` (16 digits) are lowercase hexadecimal, as headers,
    logs and UIs show them; the constructor takes either that or integers. A context without ids (both zero) is not
    `is_valid`; as a parent it starts a new trace.
    """

    __slots__ = ("_flags", "_span_id", "_trace_id", "_trace_state", "_weight", "baggage", "is_remote")

    # So that a context can stand where the current span is expected, see `context.resolve`.
    _end = False
    _previous = None
    _shared = Shared()

    def __init__(
        self,
        trace_id: int | str = 0,
        span_id: int | str = 0,
        flags: int = 0,
        trace_state: str = "",
        *,
        is_remote: bool = False,
        baggage: Mapping[str, str] | None = None,
    ) -> None:
        self._trace_id = int(trace_id, 16) if isinstance(trace_id, str) else trace_id
        self._span_id = int(span_id, 16) if isinstance(span_id, str) else span_id
        self._flags = flags
        self._trace_state = trace_state
        self._weight: float | None = None  # the adjusted count of the local span that this stands for, if it has one
        self.is_remote = is_remote
        self.baggage = baggage

    @property
    def trace_id(self) -> str:
        """The trace id: 32 lowercase hexadecimal digits."""
        return f"{self._trace_id:032x}"

    @property
    def span_id(self) -> str:
        """The span id: 16 lowercase hexadecimal digits."""
        return f"{self._span_id:016x}"

    @property
    def trace_flags(self) -> int:
        """The flags as W3C Trace Context puts them on the wire: bit 0 sampled, bit 1 random."""
        return self._flags & WIRE_FLAGS

    @property
    def trace_state(self) -> str:
        """The `tracestate` list as one header value; empty when there is none."""
        return self._trace_state

    @property
    def is_valid(self) -> bool:
        """Whether both ids are set (W3C Trace Context, sections 3.2.2.3 and 3.2.2.4)."""
        return self._trace_id != 0 and self._span_id != 0

    @property
    def is_sampled(self) -> bool:
        """Whether the sampled flag is set."""
        return self._flags & SAMPLED != 0

    @property
    def is_debug(self) -> bool:
        """Whether the sender asked for this trace to be kept whatever the sampler says (B3, Jaeger)."""
        return self._flags & DEBUG != 0

    @property
    def has_decision(self) -> bool:
        """Whether the sampled flag is a decision: not so when B3 ids came without one, nor without any sender."""
        return bool(self._flags & DECISION_ONLY) or (self.is_valid and not self._flags & DEFERRED)

    @property
    def trace_context(self) -> TraceContext:
        """Itself, so that a context can be given wherever a span can."""
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TraceContext):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self._trace_id, self._span_id))

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        # The current baggage is a read-only view, which cannot be pickled.
        state = {name: getattr(self, name) for name in self.__slots__}
        return None, {**state, "baggage": None if self.baggage is None else dict(self.baggage)}

    def __repr__(self) -> str:
        state = f", trace_state={self._trace_state!r}" if self._trace_state else ""
        remote = ", remote" if self.is_remote else ""
        return f"TraceContext({self.trace_id}-{self.span_id}-{self.trace_flags:02x}{state}{remote})"

    def _key(self) -> tuple[Any, ...]:
        return (
            self._trace_id,
            self._span_id,
            self._flags,
            self._trace_state,
            self.is_remote,
            dict(self.baggage or {}),
        )
