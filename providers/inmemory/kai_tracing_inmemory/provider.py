"""The provider that keeps finished spans in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from re import Pattern
from typing import TYPE_CHECKING, Any, ClassVar

from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.processor import SpanExporter, SpanProcessor
from kai_tracing_core.propagation.base import Propagator
from kai_tracing_core.provider import RecordingProvider
from kai_tracing_core.span import Span, SpanKind, SpanStatusCode
from kai_tracing_inmemory.store import SpanStore
from kai_tracing_inmemory.tree import SpanTree

if TYPE_CHECKING:
    from typing_extensions import Self

    from kai_tracing_core.settings import TracingSettings

__all__ = ["InMemoryProvider"]


class InMemoryProvider(RecordingProvider):
    """Finished spans as a queryable list: at once, on the thread that ended them, without a worker of its own."""

    name: ClassVar[str] = "inmemory"

    def __init__(
        self,
        *,
        capacity: int = 10_000,
        config: PipelineConfig | None = None,
        propagator: Propagator | None = None,
    ) -> None:
        """Keeps `capacity` finished spans; beyond that the oldest make room, and are counted as dropped."""
        self.store = SpanStore(capacity)
        super().__init__(config=config, propagator=propagator)

    @classmethod
    def from_settings(cls, settings: TracingSettings, config: PipelineConfig, propagator: Propagator | None) -> Self:
        """Make one as `TRACING_INMEMORY__*` describes it."""
        from kai_tracing_inmemory.settings import InMemorySettings

        return cls(capacity=settings.section(InMemorySettings).capacity, config=config, propagator=propagator)

    def create_exporter(self) -> SpanExporter:
        """What puts spans into the store."""
        return _StoreExporter(self.store)

    def create_queue(self, exporter: SpanExporter) -> SpanProcessor:
        """The store itself, since there is nothing to wait for."""
        return self.store

    @property
    def spans(self) -> list[Span]:
        """The finished spans, in the order of their ends."""
        return self.store.spans

    def find(
        self,
        name: str | Pattern[str] | None = None,
        *,
        kind: SpanKind | None = None,
        attributes: Mapping[str, Any] | None = None,
        status: SpanStatusCode | None = None,
        trace_id: str | None = None,
    ) -> list[Span]:
        """The finished spans that are as described, in the order of their ends.

        A compiled pattern may match anywhere in the name. Of the attributes all that are given must be there and equal.
        """
        return self.store.find(name, kind=kind, attributes=attributes, status=status, trace_id=trace_id)

    def get(self, name: str | Pattern[str] | None = None, **criteria: Any) -> Span:
        """The one span that is as described, as for `find`.

        Raises:
            LookupError: there is none or more than one; the message shows what there is.
        """
        return self.store.get(name, **criteria)

    def roots(self) -> list[Span]:
        """The spans without a parent here, in the order of their ends."""
        return self.store.roots()

    def tree(self, trace_id: str | None = None) -> SpanTree:
        """All traces, or one, as trees: `print(provider.tree())`."""
        return self.store.tree(trace_id)

    def clear(self) -> None:
        """Forget the finished spans."""
        self.store.clear()


class _StoreExporter(SpanExporter):
    def __init__(self, store: SpanStore) -> None:
        self._store = store

    def export(self, spans: Sequence[Span], timeout: float) -> int:
        for span in spans:
            self._store.on_end(span)
        return 0
