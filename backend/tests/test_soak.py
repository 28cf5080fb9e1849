"""The soak in its short form: `make soak` runs it for ten minutes."""

from __future__ import annotations

from pathlib import Path

from benchmarks.backend.soak import Soak


def test_a_backend_in_mixed_use_makes_no_error(tmp_path: Path) -> None:
    """Sending, asking and sweeping at once for some seconds: nothing fails, and every acknowledged span is counted."""
    soak = Soak(6, 2_000, stock=4_000)
    soak.run(tmp_path)
    assert soak.errors == []
    assert soak.written
    assert soak.asked
    assert soak.memory
