"""Where the policy comes from: a file that may change at any time, or the built-in one."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from kai_tracing_backend.retention.policy import DEFAULT_POLICY, Policy, PolicyError, read_policy

__all__ = ["CurrentPolicy", "PolicySource"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CurrentPolicy:
    """The policy that holds now, its text, where it is from and since when (nanoseconds).

    `error` is what is wrong with its file, if anything: then this is the last good one.
    """

    policy: Policy
    text: str
    source: str
    loaded: int
    error: str | None = None


class PolicySource:
    """Looks at the file whenever it is asked, and reads it when it has changed.

    Raises:
        PolicyError: at the start the file has to be good.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._reading = threading.Lock()
        self._seen: object = None
        if path is None:
            self._current = _current(DEFAULT_POLICY, "built in")
        else:
            self._seen = _state(path)
            self._current = _current(_text(path), str(path))

    def current(self) -> CurrentPolicy:
        """The policy that holds now. A file that cannot be used changes nothing, and is told of."""
        if self._path is None:
            return self._current
        with self._reading:
            state = _state(self._path)
            if state != self._seen:
                self._seen = state
                self._read(self._path)
            return self._current

    def _read(self, path: Path) -> None:
        before = self._current
        try:
            self._current = _current(_text(path), str(path))
        except PolicyError as error:
            logger.error("the retention policy stays as it was: %s", error)
            self._current = CurrentPolicy(before.policy, before.text, before.source, before.loaded, str(error))
        else:
            logger.info("the retention policy was read from %s", path)


def _current(text: str, source: str) -> CurrentPolicy:
    return CurrentPolicy(read_policy(text, source), text, source, time.time_ns())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise PolicyError(
            f"{path} cannot be read: {error}. Correct TRACING_BACKEND_RETENTION_FILE; without it the "
            "built-in policy holds."
        ) from error


def _state(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
