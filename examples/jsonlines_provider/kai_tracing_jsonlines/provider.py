"""The provider that `TRACING_TYPE=jsonlines` chooses."""

from __future__ import annotations

from typing import Any, ClassVar

from kai_tracing_core import ProviderSettings, RecordingProvider
from kai_tracing_core.processing.processor import SpanExporter
from kai_tracing_jsonlines.exporter import JsonLinesExporter
from kai_tracing_jsonlines.settings import JsonLinesSettings

__all__ = ["JsonLinesProvider"]


class JsonLinesProvider(RecordingProvider):
    """Appends every span to a file. Sampling, batching, retries and propagation come with the base class."""

    name: ClassVar[str] = "jsonlines"
    settings_model: ClassVar[type[ProviderSettings] | None] = JsonLinesSettings

    def __init__(self, *, settings: JsonLinesSettings | None = None, **options: Any) -> None:
        self.settings = settings or JsonLinesSettings()
        super().__init__(**options)

    def create_exporter(self) -> SpanExporter:
        """What writes the file."""
        return JsonLinesExporter(self.settings.path, self.settings.max_bytes)
