"""The guide's configuration is valid, and its own sampler keeps the contract."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kai_tracing_core.cli.sampling import _toml
from kai_tracing_core.sampling.base import Sampler, SamplingDecision, SamplingRequest, SamplingResult
from kai_tracing_core.sampling.config import BUILT_IN, create_sampler
from kai_tracing_core.testing.sampler_contract import SamplerContract

_GUIDE = (Path(__file__).parents[2] / "docs/guides/sampling.md").read_text(encoding="utf-8")
_TABLES = [
    table for table in map(_toml().loads, re.findall(r"```toml\n(.*?)```", _GUIDE, re.DOTALL)) if "sampler" in table
]


@pytest.mark.parametrize("table", _TABLES)
def test_every_table_makes_a_sampler(table: dict[str, dict[str, object]]) -> None:
    """What the guide has the reader put into the settings file is accepted."""
    create_sampler(table["sampler"]).close()


@pytest.mark.parametrize(
    ("name", "argument"), re.findall(r'TRACING_SAMPLER=(\S+) TRACING_SAMPLER_ARG="?([^"\n]+)', _GUIDE)
)
def test_every_environment_makes_a_sampler(name: str, argument: str) -> None:
    """So is what it has the reader put into the environment."""
    create_sampler(name, argument).close()


def test_every_sampler_has_a_section() -> None:
    """A sampler that nobody can read about is not there."""
    sections = set(re.findall(r"^## (\w+)$", _GUIDE, re.MULTILINE))
    aliases = {name for name in BUILT_IN if name.startswith("parentbased_")} | {"ratio", "jaeger_remote"}
    assert set(BUILT_IN) - aliases <= sections


class _EveryNth(Sampler):
    """The guide's example."""

    def __init__(self, argument: str) -> None:
        self.n = int(argument)
        self.seen = 0

    def should_sample(self, request: SamplingRequest) -> SamplingResult:
        self.seen += 1
        if self.seen % self.n:
            return SamplingResult(SamplingDecision.DROP)
        return SamplingResult(SamplingDecision.RECORD_AND_SAMPLE, adjusted_count=float(self.n))

    @property
    def description(self) -> str:
        return f"EveryNth{{{self.n}}}"


class TestEveryNth(SamplerContract):
    """Another package's sampler, run through the contract as the guide says."""

    @pytest.fixture
    def sampler(self) -> _EveryNth:
        return _EveryNth("3")
