"""`typing.NamedTuple` without what it costs to define one, for those that every start of a program defines.

typing compiles the annotation of every field, 80 times at a start, and the first use of `compile` makes all types of
Python's syntax tree: together a tenth of the whole start.
"""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING, Any

__all__ = ["NamedTuple"]

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    _OF_THE_BODY = frozenset(("__annotations__", "__module__", "__qualname__"))

    class _Meta(type):
        """Makes a named tuple of a class body: its annotations are the fields, what is assigned to one its default."""

        def __new__(cls, name: str, _: tuple[type, ...], body: dict[str, Any]) -> type:
            fields = body["__annotations__"]
            defaults = [body[field] for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])  # noqa: PYI024 - see above
            made.__annotations__ = fields
            for key, value in body.items():
                if key not in fields and key not in _OF_THE_BODY:
                    setattr(made, key, value)
            return made

    NamedTuple = type.__new__(_Meta, "NamedTuple", (), {"__module__": __name__, "__doc__": "As `typing.NamedTuple`."})
