"""An exporter that fails as it is told to, and a provider around it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kai_tracing_core import RecordingProvider, Span
from kai_tracing_core.processing.batch import BatchOptions
from kai_tracing_core.processing.pipeline import PipelineConfig
from kai_tracing_core.processing.processor import SpanExporter

Step = BaseException | Callable[[Sequence[Span]], Any] | None


class ScriptedExporter(SpanExporter):
    """Takes one step of `script` per call: raises it, calls it with the batch, or (None, and at its end) succeeds."""

    def __init__(self, script: Iterable[Step] = ()) -> None:
        self.exported: list[Span] = []
        self.calls: list[int] = []
        self.threads: set[threading.Thread] = set()
        self.closed = False
        self.called = threading.Event()
        self._script = deque(script)

    def export(self, spans: Sequence[Span], timeout: float) -> int:
        self.calls.append(len(spans))
        self.threads.add(threading.current_thread())
        self.called.set()
        step = self._script.popleft() if self._script else None
        if isinstance(step, BaseException):
            raise step
        if step is not None:
            step(spans)
        self.exported.extend(spans)
        return 0

    def shutdown(self) -> None:
        self.closed = True


class ScriptedProvider(RecordingProvider):
    """A provider with a given exporter."""

    name = "scripted"

    def __init__(self, exporter: SpanExporter, batch: BatchOptions | None = None) -> None:
        self._given = exporter
        super().__init__(config=PipelineConfig(batch=batch or BatchOptions()))

    def create_exporter(self) -> SpanExporter:
        return self._given
