"""The recorded traces beside the repository, and how a test skips without them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[2] / "../shared/data"


def files(pattern: str) -> dict[str, bytes]:
    """The recordings whose names match, unpacked."""
    found = {path.name: gzip.decompress(path.read_bytes()) for path in sorted(_FOLDER.glob(pattern))}
    if not found:
        pytest.skip(f"there are no recordings {pattern} in ../shared/data")
    return found
