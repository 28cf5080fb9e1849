"""Which traces are pinned and which days are held: a small file beside the days, replaced as a whole."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from kai_tracing_backend.keeping import NEVER, Hold, Pin
from kai_tracing_backend.storage.contract import StoreError, StoreFullError

__all__ = ["MAX_PINS", "Marks", "move_durably", "write_durably"]

MAX_PINS = 10_000


class Marks:
    """The pins and holds of a store's folder. What is over is not there any more.

    Raises:
        StoreError: the file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "pins.json"
        self._changing = threading.Lock()
        self.version = 0
        self._pins: dict[str, Pin] = {}
        self._holds: dict[date, Hold] = {}
        if not self._path.exists():
            return
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            self._pins = {pin["trace_id"]: Pin(**pin) for pin in document["pins"]}
            holds = [Hold(date.fromisoformat(hold["day"]), hold["until"]) for hold in document["holds"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self._path} cannot be read: {error!r}. Repair it, or remove it and all pins."
            ) from error
        self._holds = {hold.day: hold for hold in holds}

    def pins(self) -> list[Pin]:
        """The traces that stay, the newest pin first."""
        now = time.time_ns()
        found = [pin for pin in list(self._pins.values()) if pin.until > now]
        return sorted(found, key=lambda pin: (-pin.created, pin.trace_id))

    def holds(self) -> list[Hold]:
        """The days that stay, by day."""
        now = time.time_ns()
        return sorted((hold for hold in list(self._holds.values()) if hold.until > now), key=lambda hold: hold.day)

    def pin(self, trace_id: str, note: str, until: int = NEVER) -> Pin:
        """Pin a trace, or change its note. A pin never becomes shorter by this."""
        with self._changing:
            old = self._pins.get(trace_id)
            if old is None and len(self.pins()) >= MAX_PINS:
                raise ValueError(f"{MAX_PINS} traces are pinned already: unpin some")
            until = max(until, old.until) if old is not None else until
            made = Pin(trace_id, note, time.time_ns(), until)
            self._save({**self._pins, trace_id: made}, self._holds)
        return made

    def unpin(self, trace_id: str) -> bool:
        """Whether it was pinned."""
        with self._changing:
            if trace_id not in self._pins:
                return False
            self._save({key: pin for key, pin in self._pins.items() if key != trace_id}, self._holds)
        return True

    def hold(self, day: date, until: int) -> None:
        """Hold a day; never for shorter than it is held already."""
        with self._changing:
            old = self._holds.get(day)
            if old is None or old.until < until:
                self._save(self._pins, {**self._holds, day: Hold(day, until)})

    def _save(self, pins: dict[str, Pin], holds: dict[date, Hold]) -> None:
        now = time.time_ns()
        pins = {key: pin for key, pin in pins.items() if pin.until > now}
        holds = {key: hold for key, hold in holds.items() if hold.until > now}
        document: dict[str, Any] = {
            "pins": [asdict(pin) for pin in pins.values()],
            "holds": [{"day": hold.day.isoformat(), "until": hold.until} for hold in holds.values()],
        }
        try:
            write_durably(self._path, json.dumps(document, indent=1).encode())
        except OSError as error:
            raise StoreFullError(f"{self._path} cannot be written: {error}") from error
        self._pins, self._holds = pins, holds
        self.version += 1


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file as a whole: after a crash it is the old one or the new one."""
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    move_durably(temporary, path)


def move_durably(source: Path, target: Path) -> None:
    """Rename a file that is on the disk already, so that the name is, too."""
    source.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
