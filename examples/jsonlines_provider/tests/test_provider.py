"""What the package promises; run it with `pytest` where the package is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kai_tracing_jsonlines import EveryNth, JsonLinesProvider
from kai_tracing_jsonlines.settings import JsonLinesSettings

from kai_tracing_core import SpanKind, TracingService
from kai_tracing_core.sampling.base import Sampler
from kai_tracing_core.testing.contract import ProviderContract
from kai_tracing_core.testing.sampler_contract import SamplerContract


class TestJsonLinesProvider(ProviderContract):
    """The provider does what every provider does."""

    @pytest.fixture
    def provider(self, tmp_path: Path) -> JsonLinesProvider:
        return JsonLinesProvider(settings=JsonLinesSettings(path=tmp_path / "spans.jsonl"))


class TestEveryNth(SamplerContract):
    """The sampler does what every sampler does."""

    @pytest.fixture
    def sampler(self) -> Sampler:
        return EveryNth("3")


def test_lines(tmp_path: Path) -> None:
    """Every span is a line with what was recorded on it."""
    path = tmp_path / "spans.jsonl"
    service = TracingService(JsonLinesProvider(settings=JsonLinesSettings(path=path)))
    with service.span("parent", kind=SpanKind.SERVER) as parent, service.span("child", attributes={"n": 1}) as child:
        child.add_event("here", {"x": True})
    assert service.shutdown()
    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["name"], first["parent_id"], first["attributes"]) == ("child", parent.span_id, {"n": 1})
    assert first["events"][0]["attributes"] == {"x": True}
    assert (second["name"], second["kind"], second["parent_id"]) == ("parent", "SERVER", None)


def test_full_file(tmp_path: Path) -> None:
    """What does not fit into the file is dropped and counted."""
    service = TracingService(JsonLinesProvider(settings=JsonLinesSettings(path=tmp_path / "spans.jsonl", max_bytes=10)))
    service.span("lost").end()
    service.flush()
    assert service.stats().dropped["file_full"] == 1
    service.shutdown()


def test_every_nth() -> None:
    """The first of every three traces is kept, and stands for three."""
    with pytest.raises(ValueError, match="at least 1"):
        EveryNth("0")
    assert EveryNth("3").description == "EveryNth{3}"
