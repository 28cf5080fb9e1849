"""Named tuples that cost little to define are the ones that everybody knows."""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple, get_type_hints

from kai_tracing_core import records


class Typings(NamedTuple):
    """Two fields."""

    name: str
    size: int | None = None

    @property
    def loud(self) -> str:
        """The name, louder."""
        return self.name.upper()


class Ours(records.NamedTuple):
    """Two fields."""

    name: str
    size: int | None = None

    @property
    def loud(self) -> str:
        """The name, louder."""
        return self.name.upper()


def said(kind: Any) -> list[Any]:
    """What one can see of a class of named tuples."""
    made = kind("a", size=3)
    return [
        kind.__doc__,
        kind.__module__,
        kind._fields,
        kind._field_defaults,
        kind.__mro__[1:],
        get_type_hints(kind),
        kind("a") == ("a", None),
        made.loud,
        made._replace(size=4),
        made._asdict(),
        repr(made).replace(kind.__name__, ""),
        pickle.loads(pickle.dumps(made)),
    ]


def test_a_named_tuple_is_what_typing_makes_of_the_body() -> None:
    """Fields, defaults, methods, docstring, type hints, representation, pickling."""
    assert said(Ours) == said(Typings)
    assert type(pickle.loads(pickle.dumps(Ours("a")))) is Ours
