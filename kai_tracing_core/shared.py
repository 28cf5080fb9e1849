"""What the spans of a trace have in common."""

from __future__ import annotations

from typing import Any

__all__ = ["Shared"]


class Shared:
    """What the spans of a trace have in common in this process: a child takes over one reference instead of fields.

    It is never changed: a span for which something of it changes gets another one.
    """

    __slots__ = ("flags", "for_children", "owner", "sink", "trace_state", "weight")

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
        self.trace_state = trace_state
        self.weight = weight  # adjusted count; None is 1
        self.sink = sink  # a SpanSink; None where nothing is recorded
        self.owner = owner  # the pipeline whose children need not ask its sampler again, if any
        self.for_children = for_children  # what they take over where it is not this: the parent's parent is remote
