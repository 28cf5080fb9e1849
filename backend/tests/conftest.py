"""Running backends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kai_tracing_backend.app import Backend

from tests.support.backend import running


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
