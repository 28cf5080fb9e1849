"""Which entry points are installed for this project.

`importlib.metadata` knows them, too, but importing it and asking it takes as long as half of a start. What is on
`sys.path` is directories nearly always, and those are read here: the `entry_points.txt` of every distribution, which
either names this project or is none of its business. Zip files, eggs and importers with a finder of their own are left
to `importlib.metadata`, as is everything about a distribution that only a message needs.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kai_tracing_core.records import NamedTuple

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["PROJECT", "Entry", "installed"]

PROJECT = "kai_tracing"

_MENTION = f"[{PROJECT}.".encode()
_SUFFIXES = (".dist-info", ".egg-info")


class Entry(NamedTuple):
    """An entry point: `name = value` in the file of the distribution whose metadata are at `place`."""

    group: str
    name: str
    value: str
    place: str
    """A directory, or nothing where no distribution has it; anything else is found by its name."""

    @property
    def dist(self) -> Distribution | None:
        """The distribution that brings it."""
        if not self.place:
            return None
        from importlib.metadata import PathDistribution, distribution

        if not os.path.isdir(self.place):
            return distribution(self.place)
        from pathlib import Path

        return PathDistribution(Path(self.place))

    def load(self) -> Any:
        """Import what it names. Raises whatever that raises."""
        module, _, attributes = self.value.partition("[")[0].partition(":")
        loaded: Any = import_module(module.strip())
        for attribute in filter(None, attributes.strip().split(".")):
            loaded = getattr(loaded, attribute)
        return loaded


def installed(group: str) -> list[Entry]:
    """The entry points of `kai_tracing.<group>`; of a distribution that is there twice, those of the first."""
    found: dict[str, tuple[Entry, ...]] = {}
    for name, entries in _distributions():
        found.setdefault(name, entries)
    return [entry for entries in found.values() for entry in entries if entry.group == f"{PROJECT}.{group}"]


def _distributions() -> Iterator[tuple[str, tuple[Entry, ...]]]:
    """Names and entry points of the distributions that have any of this project's, in the order of the path."""
    for place in sys.path:
        directory = place or "."
        try:
            changed = os.stat(directory).st_mtime_ns
        except OSError:
            continue
        if directory.endswith(".egg") or not os.path.isdir(directory):
            yield from _by_importlib([place])
        else:
            yield from _in_directory(directory, changed)
    if any(map(_is_foreign, sys.meta_path)):
        yield from _by_importlib(None)


def _is_foreign(finder: object) -> bool:
    """Whether an importer finds distributions elsewhere; Python's own and that of the backport look at `sys.path`."""
    kind = finder if isinstance(finder, type) else type(finder)
    return hasattr(finder, "find_distributions") and not kind.__module__.startswith(
        ("_frozen_importlib", "importlib_metadata")
    )


@lru_cache(maxsize=256)
def _in_directory(directory: str, changed: int) -> list[tuple[str, tuple[Entry, ...]]]:
    """What is installed in a directory, as long as nothing is added to it or removed, which is when `changed` does."""
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(_SUFFIXES))
    except OSError:
        return []
    found = []
    for name in names:
        place = f"{directory}/{name}"
        try:
            with open(f"{place}/entry_points.txt", "rb") as file:
                content = file.read()
        except OSError:  # most have none
            continue
        if _MENTION in content:
            distribution = name.rpartition(".")[0].partition("-")[0]
            found.append((_normal(distribution), tuple(_parse(content.decode("utf-8", "replace"), place))))
    return found


def _parse(text: str, place: str) -> Iterator[Entry]:
    """Read an entry_points.txt (Python packaging's "Entry points specification", "File format")."""
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif group.startswith(f"{PROJECT}.") and line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield Entry(group, name.strip(), value.strip(), place)


def _by_importlib(path: list[str] | None) -> Iterator[tuple[str, tuple[Entry, ...]]]:
    from importlib.metadata import distributions

    for distribution in distributions() if path is None else distributions(path=path):
        name = distribution.metadata["Name"]
        entries = tuple(
            Entry(point.group, point.name, point.value, name)
            for point in distribution.entry_points
            if point.group.startswith(f"{PROJECT}.")
        )
        if entries:
            yield _normal(name), entries


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()
