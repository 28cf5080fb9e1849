"""Room on the disk that senders do not get: what is acknowledged already, sweeps and checkpoints need some."""

from __future__ import annotations

import shutil
from pathlib import Path

from kai_tracing_backend.storage.contract import StoreFullError

__all__ = ["Reserve"]


class Reserve:
    """So many bytes of the disk that `folder` is on; 0 reserves nothing."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        self._size = size

    def check(self) -> None:
        """Raises StoreFullError while less than the reserve is free."""
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError:  # the store finds out, and says it
            return
        if free < self._size:
            raise StoreFullError(
                f"there is no room on the disk: {free:,} bytes are free where {self._folder} is, less than the "
                f"{self._size:,} of the reserve (TRACING_BACKEND_DISK_RESERVE)"
            )
