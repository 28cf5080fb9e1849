"""The structural operators: how two sets of spans of a trace stand to one another."""

from __future__ import annotations

from collections.abc import Callable

from kai_tracing_backend.language.trace import Trace

__all__ = ["related"]


def related(op: str, left: set[int], right: set[int], trace: Trace) -> set[int]:
    """Those of `right` that stand so to one of `left`.

    They are its children (`>`), descendants (`>>`), parents (`<`), ancestors (`<<`) or siblings (`~`); with `!` those
    that are not; with `&` also those of `left` to which one of `right` stands so.
    """
    relation = op.lstrip("!&")
    found = _RELATIONS[relation](left, trace) & right
    if op[0] == "!":
        return right - found
    if op[0] == "&":
        return found | (_RELATIONS[_INVERSE[relation]](right, trace) & left)
    return found


def _children(of: set[int], trace: Trace) -> set[int]:
    return {index for index, parent in enumerate(trace.parents) if parent in of}


def _parents(of: set[int], trace: Trace) -> set[int]:
    return {parent for index in of if (parent := trace.parents[index]) is not None}


def _ancestors(of: set[int], trace: Trace) -> set[int]:
    found: set[int] = set()
    for index in of:
        parent = trace.parents[index]
        while parent is not None and parent not in found:
            found.add(parent)
            parent = trace.parents[parent]
    return found


def _descendants(of: set[int], trace: Trace) -> set[int]:
    below: dict[int, bool] = {}
    for start in range(len(trace.parents)):
        path: list[int] = []
        index: int | None = start
        while index is not None and index not in below:
            below[index] = False  # also what ends a circle
            path.append(index)
            index = trace.parents[index]
        known = index is not None and below[index]
        for one in reversed(path):
            parent = trace.parents[one]
            known = known or parent in of
            below[one] = known
    return {index for index, known in below.items() if known}


def _siblings(of: set[int], trace: Trace) -> set[int]:
    """Spans with the same parent, which need not have been received; roots are nobody's siblings."""
    families: dict[int | str, set[int]] = {}
    for index, span in enumerate(trace.spans):
        parent = trace.parents[index]
        family = span.parent_id if parent is None else parent
        if family is not None:
            families.setdefault(family, set()).add(index)
    found: set[int] = set()
    for members in families.values():
        known = members & of
        if known:
            found |= members if len(known) > 1 else members - known
    return found


_RELATIONS: dict[str, Callable[[set[int], Trace], set[int]]] = {
    ">": _children,
    ">>": _descendants,
    "<": _parents,
    "<<": _ancestors,
    "~": _siblings,
}
_INVERSE = {">": "<", ">>": "<<", "<": ">", "<<": ">>", "~": "~"}
