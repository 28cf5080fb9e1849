"""Running backends, and stages of tail sampling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("kai_tracing_core.testing", "kai_tracing_backend.testing")

# ruff: noqa: E402 - assertions are rewritten on import only
from kai_tracing_backend.app import Backend
from kai_tracing_backend.sampling.journal import Journal
from kai_tracing_backend.sampling.tail import TailOptions, TailSampling

from kai_tracing_core.sampling.tail_policies import TailPolicy
from tests.support.backend import running
from tests.support.tail import IMMEDIATE, Make, Sink


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    """A running backend, empty."""
    with running(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A running backend for tests that do not look into it."""
    with running(tmp_path_factory.mktemp("shared")) as made:
        yield made


@pytest.fixture
def sink() -> Sink:
    """What is behind the stage of tail sampling."""
    return Sink()


@pytest.fixture
def make(tmp_path: Path, sink: Sink) -> Iterator[Make]:
    """Makes stages of tail sampling over one journal; those that are left open are closed."""
    made: list[TailSampling] = []

    def create(policy: TailPolicy, options: TailOptions = IMMEDIATE, **more: Any) -> TailSampling:
        made.append(TailSampling(policy, Journal(tmp_path / "tail"), sink, options, **more))
        return made[-1]

    yield create
    for stage in made:
        stage.close()
