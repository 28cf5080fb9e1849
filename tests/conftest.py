"""For every test of the project: nothing that tracing started may outlive it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("kai_tracing_core.testing")

from kai_tracing_core.testing.leaks import no_leaks  # noqa: E402 - assertions are rewritten on import only


@pytest.fixture(autouse=True)
def leak_detector() -> Iterator[None]:
    """Fails the test that leaves a current span, baggage or a worker thread behind."""
    with no_leaks():
        yield
