"""What tracing says of itself, as metrics: the same list for every sink."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kai_tracing_core.processing.processor import Stats

__all__ = ["SELF_METRICS", "SelfMetric"]


class SelfMetric(NamedTuple):
    """One number of `Stats`; a counter unless `is_gauge`. Spans that were dropped have a reason, and no place here."""

    name: str
    unit: str
    description: str
    read: Callable[[Stats], float]
    is_gauge: bool = False


SELF_METRICS = (
    SelfMetric("spans.started", "{span}", "Spans that were started.", lambda stats: stats.started),
    SelfMetric("spans.unsampled", "{span}", "Spans that the sampler left out.", lambda stats: stats.unsampled),
    SelfMetric("spans.ended", "{span}", "Recorded spans that ended.", lambda stats: stats.ended),
    SelfMetric("spans.exported", "{span}", "Spans that the backend took.", lambda stats: stats.exported),
    SelfMetric("spans.spooled", "{span}", "Spans that went to the disk spool.", lambda stats: stats.spooled),
    SelfMetric("export.retries", "{request}", "Requests that were repeated.", lambda stats: stats.retries),
    SelfMetric("export.duration", "s", "Time spent exporting.", lambda stats: stats.export_seconds),
    SelfMetric("queue.size", "{span}", "Spans that wait to be exported.", lambda stats: stats.queued, is_gauge=True),
)
