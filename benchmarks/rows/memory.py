"""What a finished span with two attributes takes while it waits in the queue."""

from __future__ import annotations

from benchmarks import peers
from benchmarks.measure import memory
from benchmarks.row import Row

COUNT = 10_000


def kai_memory() -> float:
    from kai_tracing_core import TracingService
    from kai_tracing_core.processing.batch import BatchOptions

    options = BatchOptions(max_queue=2 * COUNT, max_batch=2 * COUNT, delay=3600)
    tracing = TracingService(peers.kai_provider(batch=options))

    def body(count: int) -> None:
        for number in range(count):
            with tracing.span("SELECT", attributes={"db.system": "postgresql", "db.rows": number}):
                pass

    figure = memory(body, tracing.flush, count=COUNT)
    assert tracing.stats().queued == COUNT
    return figure


def sdk_memory() -> float:
    provider = peers.sdk_provider(
        max_queue_size=2 * COUNT, max_export_batch_size=2 * COUNT, schedule_delay_millis=3_600_000
    )
    start = provider.get_tracer("bench").start_as_current_span

    def body(count: int) -> None:
        for number in range(count):
            with start("SELECT", attributes={"db.system": "postgresql", "db.rows": number}):
                pass

    return memory(body, provider.force_flush, count=COUNT)


ROWS = [
    Row(
        "memory of a queued span",
        kai_memory,
        sdk_memory,
        "opentelemetry-sdk, batch processor",
        limit=600,
        unit="B",
        counted=False,
    )
]
