"""The recorded traces beside the repository, and how a test is left out without them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

__all__ = ["DATA", "files", "needs_data"]

DATA = Path(__file__).parents[2] / "../shared/data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the recordings are beside the project, not in it")


def files(pattern: str) -> dict[str, bytes]:
    """The recordings whose names match, unpacked."""
    found = {path.name: gzip.decompress(path.read_bytes()) for path in sorted(DATA.glob(pattern))}
    if not found:
        pytest.skip(f"there are no recordings {pattern} in ../shared/data")
    return found
