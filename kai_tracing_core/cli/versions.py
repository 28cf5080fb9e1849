"""Whether the installed versions go together."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from kai_tracing_core.discovery import installed
from kai_tracing_core.plugins import KINDS

__all__ = ["conflicts"]


def conflicts() -> list[tuple[str, str]]:
    """What the core, the plugins, and whatever they need ask for and do not get; each with the way out."""
    found: list[tuple[str, str]] = []
    waiting = _roots()
    seen = set(waiting)
    while waiting:
        dist = distribution(waiting.pop())
        for requirement in _requirements(dist):
            name = canonicalize_name(requirement.name)
            problem = _problem(dist, requirement)
            if problem:
                found.append((problem, f'pip install "{requirement.name}{requirement.specifier}"'))
            elif name not in seen:
                seen.add(name)
                waiting.append(name)
    return found


def _roots() -> list[str]:
    found = {entry.place: entry.dist for kind in KINDS for entry in installed(kind)}
    names = {canonicalize_name(dist.metadata["Name"]) for dist in found.values() if dist is not None}
    return sorted({"kai-tracing-core", *names})


def _requirements(dist: Distribution) -> list[Requirement]:
    """What `dist` needs on this Python and platform, without its extras."""
    found = []
    for text in dist.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found.append(requirement)
    return found


def _problem(dist: Distribution, requirement: Requirement) -> str | None:
    wanted = f"{dist.metadata['Name']} {dist.version} needs {requirement.name}{requirement.specifier}"
    try:
        installed = distribution(requirement.name).version
    except PackageNotFoundError:
        return f"{wanted}, which is not installed"
    if requirement.specifier.contains(installed, prereleases=True):
        return None
    return f"{wanted}, but {installed} is installed"
